"""The verbs of the room tenants."""

import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core import clock, pagination, plugins, tenancy
from control_plane.core.errors import Conflict, NotFound
from control_plane.core.events import emit
from control_plane.core.pagination import Page
from control_plane.core.plugins import JobContext
from control_plane.tenants.events import (
    TenantActivated,
    TenantCreated,
    TenantDeleted,
    TenantExpired,
    TenantSuspended,
    TenantUpdated,
)
from control_plane.tenants.models import Tenant, TenantStatus


def create_tenant(session: Session, *, name: str, **fields: Any) -> Tenant:
    """Create an active tenant."""
    tenant = Tenant(name=name, **_columns(fields))
    session.add(tenant)
    session.flush()
    emit(session, TenantCreated(tenant_id=tenant.id))
    return tenant


def get_tenant(session: Session, tenant_id: uuid.UUID, *, lock: bool = False) -> Tenant:
    """Return a tenant that the current scope may see.

    With *lock* the tenant is held until the transaction ends, so that what belongs to it can be
    counted before something is added.

    Raises:
        NotFound: there is none.
    """
    query = select(Tenant).where(Tenant.id == tenant_id)
    tenant = session.scalar(query.with_for_update() if lock else query)
    if tenant is None:
        raise NotFound("tenant")
    return tenant


def list_tenants(
    session: Session, *, page: int, page_size: int, status: TenantStatus | None = None
) -> Page[Tenant]:
    """Return the tenants that the current scope may see, oldest first."""
    query = select(Tenant).order_by(Tenant.creation_date, Tenant.id)
    if status is not None:
        query = query.where(Tenant.status == status)
    return pagination.page(session, query, page, page_size)


def update_tenant(session: Session, tenant_id: uuid.UUID, **fields: Any) -> Tenant:
    """Change what is known of a tenant; its status is changed by the verbs below."""
    tenant = get_tenant(session, tenant_id)
    for name, value in _columns(fields).items():
        setattr(tenant, name, value)
    emit(session, TenantUpdated(tenant_id=tenant.id))
    session.flush()
    return tenant


def activate_tenant(session: Session, tenant_id: uuid.UUID) -> Tenant:
    """Serve a tenant's traffic; nothing happens when it is served already.

    Raises:
        Conflict: the tenant's expiry date is past.
    """
    tenant = get_tenant(session, tenant_id)
    if tenant.expiry_date is not None and tenant.expiry_date <= clock.now():
        raise Conflict("tenant_expired", "The tenant's expiry date is past: change it first.")
    if tenant.status is not TenantStatus.ACTIVE:
        tenant.status = TenantStatus.ACTIVE
        tenant.suspension_reason = None
        emit(session, TenantActivated(tenant_id=tenant.id))
        session.flush()
    return tenant


def suspend_tenant(session: Session, tenant_id: uuid.UUID, *, reason: str | None) -> Tenant:
    """Stop a tenant's traffic; its data stays. A second reason replaces the first."""
    tenant = get_tenant(session, tenant_id)
    if (tenant.status, tenant.suspension_reason) != (TenantStatus.SUSPENDED, reason):
        tenant.status = TenantStatus.SUSPENDED
        tenant.suspension_reason = reason
        emit(session, TenantSuspended(tenant_id=tenant.id, reason=reason))
        session.flush()
    return tenant


def delete_tenant(session: Session, tenant_id: uuid.UUID) -> None:
    """Delete a tenant and, through the hook, what the other rooms keep of it."""
    tenant = get_tenant(session, tenant_id, lock=True)
    plugins.manager().hook.yumen_on_tenant_deleted(session=session, tenant_id=tenant.id)
    session.delete(tenant)
    emit(session, TenantDeleted(tenant_id=tenant.id))
    session.flush()


def expire_tenants(session: Session) -> int:
    """Stop the traffic of active tenants whose expiry date is past; return how many."""
    overdue = session.scalars(
        select(Tenant).where(
            Tenant.status == TenantStatus.ACTIVE, Tenant.expiry_date <= clock.now()
        )
    ).all()
    for tenant in overdue:
        tenant.status = TenantStatus.INACTIVE
        emit(session, TenantExpired(tenant_id=tenant.id))
    session.flush()
    return len(overdue)


def run_expiry(context: JobContext) -> None:
    """Expire tenants, as the worker's job."""
    with tenancy.platform_context(), context.database.transaction() as session:
        expire_tenants(session)


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    """Return *fields* with what the wire nests under `configurations` as columns."""
    nested = fields.pop("configurations", {})
    return {**fields, **nested}
