"""Tenants themselves: create, find, list, change."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from control_plane.core import pagination, tenancy, tenant_schemas
from control_plane.core.errors import Invalid, NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.moments import refuse_past
from control_plane.core.pagination import Page
from control_plane.core.schemas import Order, Search
from control_plane.tenants.events import TenantCreated, TenantUpdated
from control_plane.tenants.models import Isolation, Tenant, TenantConfiguration, TenantStatus
from control_plane.tenants.service.configurations import refuse_unknown_models


def create_tenant(session: Session, **fields: Any) -> Tenant:
    """Create an active tenant; `configurations` are the fields of its configuration.

    Raises:
        Invalid: its expiry date is past, its configuration names an unknown AI model, or it shall
            have a schema and the database has none.
        Conflict: as many tenants have a schema as may.
    """
    refuse_past("expiryDate", fields.get("expiry_date"))
    configured: Mapping[str, Any] = fields.pop("configurations", {})
    refuse_unknown_models(
        session, configured.get("ai_model_access", ()), "configurations/aiModelAccess"
    )
    fields.setdefault("id", new_id())
    if fields.get("isolation") is Isolation.SCHEMA:
        refuse_without_schemas(session)
        # Before the row: this locks the table that it will be in.
        tenant_schemas.enter(session, fields["id"])
    tenant = Tenant(**fields, configurations=TenantConfiguration(**configured))
    session.add(tenant)
    session.flush()
    emit(session, TenantCreated(tenant_id=tenant.id))
    return tenant


def refuse_without_schemas(session: Session) -> None:
    """Refuse a database in which a tenant cannot have a schema of its own.

    Raises:
        Invalid: it is SQLite.
    """
    if session.get_bind().dialect.name != "postgresql":
        raise Invalid.field("isolation", "Must be `row`: SQLite has no schemas; PostgreSQL has.")


def get_tenant(session: Session, tenant_id: uuid.UUID, *, lock: bool = False) -> Tenant:
    """Return a tenant that the current scope may see.

    With *lock* the tenant is held until the transaction ends, so that what belongs to it can be
    counted before something is added.

    Raises:
        NotFound: there is none.
    """
    query = select(Tenant).where(Tenant.id == tenant_id)
    if lock:
        # What the session knew of the tenant is older than the lock.
        query = query.with_for_update().execution_options(populate_existing=True)
    tenant = session.scalar(query)
    if tenant is None:
        raise NotFound("tenant")
    return tenant


def owner_of(session: Session, tenant_id: uuid.UUID | None) -> uuid.UUID | None:
    """Return whose something new is: the tenant that is named, else the scope's; None, nobody's.

    Raises:
        NotFound: the tenant does not exist, or is not the current scope's.
    """
    owner = tenant_id or tenancy.current_tenant_id()
    if owner is not None:
        get_tenant(session, owner)
    return owner


def list_tenants(
    session: Session,
    *,
    page: int,
    page_size: int,
    sort: Order = (),
    status: TenantStatus | None = None,
    q: Search | None = None,
) -> Page[Tenant]:
    """Return the tenants that the current scope may see, the oldest first unless *sort* says else.

    *q* is a part of the name, in upper or lower case.
    """
    query = select(Tenant).options(selectinload(Tenant.configurations))
    if status is not None:
        query = query.where(Tenant.status == status)
    if q is not None:
        query = query.where(pagination.matching(Tenant, q))
    query = query.order_by(*pagination.ordering(Tenant, sort))
    return pagination.page(session, query, page, page_size)


def tenant_ids_after(session: Session, after: str | None, limit: int) -> list[str]:
    """Return the ids of up to *limit* tenants behind *after*, in their order."""
    return pagination.keys_after(session, Tenant.id, after, limit)


def update_tenant(session: Session, tenant: Tenant, values: Mapping[str, Any]) -> Tenant:
    """Change what is known of a tenant; its status is changed by the verbs of its life."""
    for name, value in values.items():
        setattr(tenant, name, value)
    session.flush()
    emit(session, TenantUpdated(tenant_id=tenant.id))
    return tenant
