"""HTTP of roles and permissions."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, PageQuerySchema, session
from control_plane.core.auth import Permission
from control_plane.core.conditions import matched
from control_plane.core.known_fields import KnownField
from control_plane.core.merge_patch import merged
from control_plane.core.pagination import Page
from control_plane.identity import permissions
from control_plane.identity.models import CustomRole
from control_plane.identity.schemas.permissions import (
    FieldSchema,
    ListedPermissionSchema,
    RoleCreateSchema,
    RoleQuerySchema,
    RoleSchema,
    RoleUpdateSchema,
)
from control_plane.identity.service import roles

blueprint = Blueprint("roles", __name__, url_prefix="/roles", description="What users may do.")
permissions_blueprint = Blueprint(
    "permissions", __name__, url_prefix="/permissions", description="What roles are made of."
)


@permissions_blueprint.route("")
class Permissions(MethodView):
    """All permissions."""

    @permissions_blueprint.require(permissions.ROLES_READ)
    @permissions_blueprint.response(200, ListedPermissionSchema(many=True))
    @permissions_blueprint.paged(PageQuerySchema)
    def get(self, **query: Any) -> Page[Permission]:
        """List what roles can hold; a tenant's user sees what his tenant's roles can."""
        return roles.list_permissions(**query)


@permissions_blueprint.route("/fields")
class Fields(MethodView):
    """All fields that roles can name."""

    @permissions_blueprint.require(permissions.ROLES_READ)
    @permissions_blueprint.response(200, FieldSchema(many=True))
    @permissions_blueprint.paged(PageQuerySchema)
    def get(self, **query: Any) -> Page[KnownField]:
        """List the fields of which a role can give less than its permissions say."""
        return roles.list_fields(**query)


@blueprint.route("")
class Roles(MethodView):
    """All roles that were made."""

    @blueprint.require(permissions.ROLES_READ)
    @blueprint.response(200, RoleSchema(many=True))
    @blueprint.paged(RoleQuerySchema)
    def get(self, **query: Any) -> Page[CustomRole]:
        """List custom roles; `admin`, `operator` and `viewer` are there beside them."""
        return roles.list_roles(session(), **query)

    @blueprint.require(permissions.ROLES_WRITE)
    @blueprint.arguments(RoleCreateSchema)
    @blueprint.response(201, RoleSchema)
    def post(self, values: dict[str, Any]) -> CustomRole:
        """Make a role of rights that one has oneself."""
        return roles.create_role(session(), **values)


@blueprint.route("/<uuid:role_id>")
class RoleById(MethodView):
    """One role."""

    @blueprint.require(permissions.ROLES_READ)
    @blueprint.response(200, RoleSchema)
    def get(self, role_id: uuid.UUID) -> CustomRole:
        """Show a role."""
        return roles.get_role(session(), role_id)

    @blueprint.require(permissions.ROLES_WRITE)
    @blueprint.arguments(RoleUpdateSchema)
    @blueprint.response(200, RoleSchema)
    def put(self, values: dict[str, Any], role_id: uuid.UUID) -> CustomRole:
        """Replace a role; it acts on its users' next requests."""
        role = matched(roles.get_role(session(), role_id))
        return roles.update_role(session(), role, **values)

    @blueprint.require(permissions.ROLES_WRITE)
    @blueprint.merge_patch(RoleUpdateSchema)
    @blueprint.response(200, RoleSchema)
    def patch(self, patch: dict[str, Any], role_id: uuid.UUID) -> CustomRole:
        """Change a role; it acts on its users' next requests."""
        role = matched(roles.get_role(session(), role_id))
        return roles.update_role(session(), role, **merged(RoleUpdateSchema, role, patch))

    @blueprint.require(permissions.ROLES_WRITE)
    @blueprint.response(204)
    def delete(self, role_id: uuid.UUID) -> None:
        """Delete a role that nobody has."""
        roles.delete_role(session(), matched(roles.get_role(session(), role_id)))
