"""A tenant's life after its creation: active, suspended, expired, deleted until its purge date."""

import datetime
import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core import clock, tenancy
from control_plane.core.errors import Conflict
from control_plane.core.events import emit
from control_plane.core.plugins import JobContext
from control_plane.tenants.events import (
    TenantActivated,
    TenantDeleted,
    TenantExpired,
    TenantSuspended,
)
from control_plane.tenants.models import Tenant, TenantStatus
from control_plane.tenants.service.tenants import get_tenant

_EXPIRE_AT_ONCE = 500


def activate_tenant(session: Session, tenant_id: uuid.UUID) -> Tenant:
    """Serve a tenant's traffic, also again after it was deleted; nothing when it is served already.

    Raises:
        Conflict: the tenant's expiry date is past, or its purge has begun.
    """
    tenant = get_tenant(session, tenant_id, lock=True)
    if tenant.purge_date is not None and tenant.purge_date <= clock.now():
        raise Conflict("tenant_being_purged", "The tenant's data is being purged.")
    if tenant.expiry_date is not None and tenant.expiry_date <= clock.now():
        raise Conflict("tenant_expired", "The tenant's expiry date is past: change it first.")
    if tenant.status is not TenantStatus.ACTIVE:
        tenant.status = TenantStatus.ACTIVE
        tenant.suspension_reason = tenant.purge_date = None
        session.flush()
        emit(session, TenantActivated(tenant_id=tenant.id))
    return tenant


def suspend_tenant(session: Session, tenant_id: uuid.UUID, *, reason: str | None) -> Tenant:
    """Stop a tenant's traffic; its data stays. A second reason replaces the first.

    Raises:
        Conflict: the tenant is deleted, and so without traffic already.
    """
    tenant = get_tenant(session, tenant_id, lock=True)
    if tenant.purge_date is not None:
        raise Conflict("tenant_deleted", "The tenant is deleted; activate it to undo that.")
    if (tenant.status, tenant.suspension_reason) != (TenantStatus.SUSPENDED, reason):
        tenant.status = TenantStatus.SUSPENDED
        tenant.suspension_reason = reason
        session.flush()
        emit(session, TenantSuspended(tenant_id=tenant.id, reason=reason))
    return tenant


def delete_tenant(session: Session, tenant: Tenant, *, grace_days: int) -> None:
    """Stop a tenant's traffic and have its data purged in *grace_days*.

    A second time changes nothing.
    """
    if tenant.purge_date is None:
        tenant.status = TenantStatus.INACTIVE
        tenant.suspension_reason = None
        tenant.purge_date = clock.now() + datetime.timedelta(days=grace_days)
        session.flush()
        emit(session, TenantDeleted(tenant_id=tenant.id))


def purge_tenant_now(session: Session, tenant_id: uuid.UUID) -> Tenant:
    """Have a deleted tenant's data purged at once.

    Raises:
        Conflict: the tenant is not deleted.
    """
    tenant = get_tenant(session, tenant_id, lock=True)
    if tenant.purge_date is None:
        raise Conflict("tenant_not_deleted", "Delete the tenant before you purge it.")
    tenant.purge_date = min(tenant.purge_date, clock.now())
    session.flush()
    return tenant


def expire_tenants(session: Session) -> int:
    """Stop the traffic of active tenants whose expiry date is past; return how many."""
    overdue = session.scalars(
        select(Tenant)
        .where(Tenant.status == TenantStatus.ACTIVE, Tenant.expiry_date <= clock.now())
        .limit(_EXPIRE_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    for tenant in overdue:
        tenant.status = TenantStatus.INACTIVE
        emit(session, TenantExpired(tenant_id=tenant.id))
    session.flush()
    return len(overdue)


def run_expiry(context: JobContext) -> None:
    """Expire tenants, as the worker's job."""
    found = _EXPIRE_AT_ONCE
    while found == _EXPIRE_AT_ONCE:
        with tenancy.platform_context(), context.database.transaction() as session:
            found = expire_tenants(session)
