"""HTTP of the room tenants."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session
from control_plane.core.pagination import Page
from control_plane.tenants import permissions, service
from control_plane.tenants.models import Tenant
from control_plane.tenants.schemas import (
    SuspendSchema,
    TenantCreateSchema,
    TenantQuerySchema,
    TenantSchema,
    TenantUpdateSchema,
)

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
        return service.list_tenants(session(), **query)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(TenantCreateSchema)
    @blueprint.response(201, TenantSchema)
    def post(self, values: dict[str, Any]) -> Tenant:
        """Create a tenant."""
        return service.create_tenant(session(), **values)


@blueprint.route("/<uuid:tenant_id>")
class TenantById(MethodView):
    """One tenant."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, TenantSchema)
    def get(self, tenant_id: uuid.UUID) -> Tenant:
        """Show a tenant."""
        return service.get_tenant(session(), tenant_id)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(TenantUpdateSchema)
    @blueprint.response(200, TenantSchema)
    def put(self, values: dict[str, Any], tenant_id: uuid.UUID) -> Tenant:
        """Change a tenant; a field that is not sent keeps its value."""
        return service.update_tenant(session(), tenant_id, **values)

    @blueprint.require(permissions.WRITE)
    @blueprint.response(204)
    def delete(self, tenant_id: uuid.UUID) -> None:
        """Delete a tenant and all that belongs to it; its usage stays."""
        service.delete_tenant(session(), tenant_id)


@blueprint.route("/<uuid:tenant_id>/activate")
class TenantActivation(MethodView):
    """The start of a tenant's traffic."""

    @blueprint.require(permissions.WRITE)
    @blueprint.response(200, TenantSchema)
    def post(self, tenant_id: uuid.UUID) -> Tenant:
        """Serve a tenant's traffic."""
        return service.activate_tenant(session(), tenant_id)


@blueprint.route("/<uuid:tenant_id>/suspend")
class TenantSuspension(MethodView):
    """The stop of a tenant's traffic."""

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(SuspendSchema, required=False)
    @blueprint.response(200, TenantSchema)
    def post(self, values: dict[str, Any], tenant_id: uuid.UUID) -> Tenant:
        """Stop a tenant's traffic."""
        return service.suspend_tenant(session(), tenant_id, **values)
