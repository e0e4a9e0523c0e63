"""HTTP of the room limits."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session
from control_plane.core.conditions import matched
from control_plane.core.merge_patch import merged, replaced
from control_plane.core.pagination import Page
from control_plane.limits import permissions, service
from control_plane.limits.models import Limit
from control_plane.limits.schemas import (
    LimitCreateSchema,
    LimitQuerySchema,
    LimitSchema,
    LimitUpdateSchema,
)

blueprint = Blueprint(
    "limits", __name__, url_prefix="/limits", description="How much may pass the gateway."
)


@blueprint.route("")
class Limits(MethodView):
    """All limits."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, LimitSchema(many=True))
    @blueprint.paged(LimitQuerySchema)
    def get(self, **query: Any) -> Page[Limit]:
        """List limits."""
        return service.list_limits(session(), **query)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(LimitCreateSchema)
    @blueprint.response(201, LimitSchema)
    def post(self, values: dict[str, Any]) -> Limit:
        """Limit a tenant's requests, or everybody's."""
        tenant_id = values.pop("tenant_id")
        return service.create_limit(session(), values, tenant_id=tenant_id)


@blueprint.route("/<uuid:limit_id>")
class LimitById(MethodView):
    """One limit."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, LimitSchema)
    def get(self, limit_id: uuid.UUID) -> Limit:
        """Show a limit."""
        return service.get_limit(session(), limit_id)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(LimitUpdateSchema)
    @blueprint.response(200, LimitSchema)
    def put(self, values: dict[str, Any], limit_id: uuid.UUID) -> Limit:
        """Replace a limit; what was used of it stays used."""
        limit = matched(service.get_limit(session(), limit_id))
        values = replaced(LimitUpdateSchema, limit, values)
        return service.update_limit(session(), limit, values)

    @blueprint.require(permissions.WRITE)
    @blueprint.merge_patch(LimitUpdateSchema)
    @blueprint.response(200, LimitSchema)
    def patch(self, patch: dict[str, Any], limit_id: uuid.UUID) -> Limit:
        """Change some fields of a limit; what was used of it stays used."""
        limit = matched(service.get_limit(session(), limit_id))
        return service.update_limit(session(), limit, merged(LimitUpdateSchema, limit, patch))

    @blueprint.require(permissions.WRITE)
    @blueprint.response(204)
    def delete(self, limit_id: uuid.UUID) -> None:
        """Delete a limit; what it held back passes."""
        service.delete_limit(session(), matched(service.get_limit(session(), limit_id)))
