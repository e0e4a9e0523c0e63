"""HTTP of a tenant's life."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session
from control_plane.tenants import permissions
from control_plane.tenants.models import Tenant
from control_plane.tenants.schemas import SuspendSchema, TenantSchema
from control_plane.tenants.service import lifecycle

blueprint = Blueprint("tenants_life", __name__, url_prefix="/tenants/<uuid:tenant_id>")


@blueprint.route("/activate")
class TenantActivation(MethodView):
    """The start of a tenant's traffic."""

    @blueprint.require(permissions.WRITE)
    @blueprint.response(200, TenantSchema)
    def post(self, tenant_id: uuid.UUID) -> Tenant:
        """Serve a tenant's traffic, also again after it was deleted and until its purge date."""
        return lifecycle.activate_tenant(session(), tenant_id)


@blueprint.route("/suspend")
class TenantSuspension(MethodView):
    """The stop of a tenant's traffic."""

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(SuspendSchema, required=False)
    @blueprint.response(200, TenantSchema)
    def post(self, values: dict[str, Any], tenant_id: uuid.UUID) -> Tenant:
        """Stop a tenant's traffic."""
        return lifecycle.suspend_tenant(session(), tenant_id, **values)


@blueprint.route("/purge")
class TenantPurge(MethodView):
    """The end of a deleted tenant's data."""

    @blueprint.require(permissions.PURGE)
    @blueprint.response(202, TenantSchema)
    def post(self, tenant_id: uuid.UUID) -> Tenant:
        """Have a deleted tenant's data purged now, not at its purge date. Nothing undoes this."""
        return lifecycle.purge_tenant_now(session(), tenant_id)
