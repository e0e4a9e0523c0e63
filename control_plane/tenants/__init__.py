"""Tenants (租户): who they are, and whether their traffic is served."""

from control_plane.tenants.models import Tenant, TenantStatus
from control_plane.tenants.service import (
    activate_tenant,
    create_tenant,
    get_tenant,
    list_tenants,
    suspend_tenant,
)

__all__ = [
    "Tenant",
    "TenantStatus",
    "activate_tenant",
    "create_tenant",
    "get_tenant",
    "list_tenants",
    "suspend_tenant",
]
