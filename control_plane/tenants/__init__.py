"""Tenants (租户): who they are, whether their traffic is served, and what they may use."""

from control_plane.tenants.events import ALL as TENANT_EVENTS
from control_plane.tenants.models import Tenant, TenantStatus
from control_plane.tenants.service.configurations import CallLimits, call_limits, restricted_models
from control_plane.tenants.service.lifecycle import activate_tenant, suspend_tenant
from control_plane.tenants.service.tenants import (
    create_tenant,
    get_tenant,
    list_tenants,
    owner_of,
    tenant_ids_after,
)

__all__ = [
    "TENANT_EVENTS",
    "CallLimits",
    "Tenant",
    "TenantStatus",
    "activate_tenant",
    "call_limits",
    "create_tenant",
    "get_tenant",
    "list_tenants",
    "owner_of",
    "restricted_models",
    "suspend_tenant",
    "tenant_ids_after",
]
