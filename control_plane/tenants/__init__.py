"""Tenants (租户): who they are, whether their traffic is served, and what they may use."""

from control_plane.tenants.models import Tenant, TenantStatus
from control_plane.tenants.service.configurations import restricted_models
from control_plane.tenants.service.lifecycle import activate_tenant, suspend_tenant
from control_plane.tenants.service.tenants import create_tenant, get_tenant, list_tenants, owner_of

__all__ = [
    "Tenant",
    "TenantStatus",
    "activate_tenant",
    "create_tenant",
    "get_tenant",
    "list_tenants",
    "owner_of",
    "restricted_models",
    "suspend_tenant",
]
