"""HTTP of tenants."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session, settings
from control_plane.core.conditions import matched
from control_plane.core.merge_patch import merged
from control_plane.core.pagination import Page
from control_plane.tenants import permissions
from control_plane.tenants.models import Tenant
from control_plane.tenants.schemas import (
    TenantCreateSchema,
    TenantQuerySchema,
    TenantSchema,
    TenantUpdateSchema,
)
from control_plane.tenants.service import lifecycle, tenants

blueprint = Blueprint(
    "tenants", __name__, url_prefix="/tenants", description="Customers of the platform."
)


@blueprint.route("")
class Tenants(MethodView):
    """All tenants."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, TenantSchema(many=True))
    @blueprint.paged(TenantQuerySchema)
    def get(self, **query: Any) -> Page[Tenant]:
        """List tenants."""
        return tenants.list_tenants(session(), **query)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(TenantCreateSchema)
    @blueprint.response(201, TenantSchema)
    def post(self, values: dict[str, Any]) -> Tenant:
        """Create a tenant; it is active."""
        return tenants.create_tenant(session(), **values)


@blueprint.route("/<uuid:tenant_id>")
class TenantById(MethodView):
    """One tenant."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, TenantSchema)
    def get(self, tenant_id: uuid.UUID) -> Tenant:
        """Show a tenant."""
        return tenants.get_tenant(session(), tenant_id)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(TenantUpdateSchema)
    @blueprint.response(200, TenantSchema)
    def put(self, values: dict[str, Any], tenant_id: uuid.UUID) -> Tenant:
        """Replace what is known of a tenant; its configuration stays."""
        tenant = matched(tenants.get_tenant(session(), tenant_id))
        return tenants.update_tenant(session(), tenant, values)

    @blueprint.require(permissions.WRITE)
    @blueprint.merge_patch(TenantUpdateSchema)
    @blueprint.response(200, TenantSchema)
    def patch(self, patch: dict[str, Any], tenant_id: uuid.UUID) -> Tenant:
        """Change what is known of a tenant."""
        tenant = matched(tenants.get_tenant(session(), tenant_id))
        return tenants.update_tenant(session(), tenant, merged(TenantUpdateSchema, tenant, patch))

    @blueprint.require(permissions.WRITE)
    @blueprint.response(204)
    def delete(self, tenant_id: uuid.UUID) -> None:
        """Stop a tenant's traffic and have its data purged when its grace is over."""
        tenant = matched(tenants.get_tenant(session(), tenant_id))
        grace_days = settings().tenants.purge_grace_days
        lifecycle.delete_tenant(session(), tenant, grace_days=grace_days)
