"""The verbs of upstreams."""

import contextlib
import uuid
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core import pagination, tenancy
from control_plane.core.errors import Conflict, Invalid, NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.pagination import Page
from control_plane.core.plugins import Service
from control_plane.core.schemas import Order
from control_plane.routing import targets
from control_plane.routing.events import UpstreamChanged
from control_plane.routing.models import Route, Upstream

MOST_UPSTREAMS = 100
"""Of a tenant."""
_IN_USE = Conflict("upstream_in_use", "Routes lead to this upstream: change or delete them first.")


def list_upstreams(
    session: Session,
    *,
    page: int,
    page_size: int,
    sort: Order = (),
    tenant_id: uuid.UUID | None = None,
) -> Page[Upstream]:
    """Return the upstreams that the current scope may use, by name or by *sort*.

    With *tenant_id* those that are that tenant's own.
    """
    if tenant_id is not None:
        condition = Upstream.tenant_id == tenants.get_tenant(session, tenant_id).id
    else:
        condition = _usable(tenancy.current_tenant_id())
    order = pagination.ordering(Upstream, sort or [("name", False)])
    with tenancy.platform_context():  # the shared ones are nobody's
        query = select(Upstream).where(condition).order_by(*order)
        return pagination.page(session, query, page, page_size)


def get_upstream(session: Session, upstream_id: uuid.UUID) -> Upstream:
    """Return an upstream that is the current scope's to change.

    Raises:
        NotFound: there is none.
    """
    upstream = session.scalar(select(Upstream).where(Upstream.id == upstream_id))
    if upstream is None:
        raise NotFound("upstream")
    return upstream


def find_usable(
    session: Session, upstream_id: uuid.UUID, tenant_id: uuid.UUID | None
) -> Upstream | None:
    """Return an upstream that routes of a tenant may name: his own, or one that is shared."""
    with tenancy.platform_context():
        return session.scalar(
            select(Upstream).where(Upstream.id == upstream_id, _usable(tenant_id))
        )


def _usable(tenant_id: uuid.UUID | None) -> ColumnElement[bool]:
    if tenant_id is None:
        return Upstream.id.is_not(None)
    shared = and_(Upstream.tenant_id.is_(None), Upstream.is_shared.is_(True))
    return or_(Upstream.tenant_id == tenant_id, shared)


def create_upstream(
    session: Session, *, tenant_id: uuid.UUID | None = None, **fields: Any
) -> Upstream:
    """Add an upstream of a tenant, or of the platform; a tenant's user adds one of his own tenant.

    Raises:
        NotFound: the tenant does not exist, or is not the current scope's.
        Conflict: the name is taken, or the tenant has too many.
        Invalid: a tenant's is to be shared, or no plugin knows its targets.
    """
    tenant_id = tenants.owner_of(session, tenant_id)
    if tenant_id is not None:
        tenants.get_tenant(session, tenant_id, lock=True)
        owned = select(func.count()).select_from(Upstream).where(Upstream.tenant_id == tenant_id)
        if (session.scalar(owned) or 0) >= MOST_UPSTREAMS:
            raise Conflict("too_many_upstreams", f"A tenant may have {MOST_UPSTREAMS} upstreams.")
    upstream = Upstream(id=new_id(), tenant_id=tenant_id)
    session.add(upstream)
    return _saved(session, upstream, fields)


def update_upstream(session: Session, upstream: Upstream, **fields: Any) -> Upstream:
    """Change an upstream.

    Raises:
        Conflict: the name is taken, or routes of tenants need what is to be shared no more.
        Invalid: a tenant's is to be shared, or no plugin knows its targets.
    """
    if upstream.is_shared and not fields.get("is_shared", True):
        with tenancy.platform_context():
            if session.scalar(select(Route.id).where(Route.upstream_id == upstream.id).limit(1)):
                raise _IN_USE
    return _saved(session, upstream, fields)


def _saved(session: Session, upstream: Upstream, fields: Mapping[str, Any]) -> Upstream:
    with session.no_autoflush:
        for name, value in fields.items():
            setattr(upstream, name, value)
        _refuse(session, upstream)
    try:
        session.flush()
    except IntegrityError as error:  # indexes on names decide, also between two requests at once
        raise Conflict("upstream_name_taken", "There is an upstream of this name.") from error
    emit(session, UpstreamChanged(upstream_id=upstream.id))
    return upstream


def _refuse(session: Session, upstream: Upstream) -> None:
    if upstream.is_shared and upstream.tenant_id is not None:
        raise Invalid.field("isShared", "Must be false: only the platform's own can be shared.")
    if upstream.discovery is None:
        return
    if targets.discovered(session, upstream.discovery, upstream.tenant_id) is None:
        raise Invalid.field("discovery", "No plugin knows targets by this name.")


def delete_upstream(session: Session, upstream: Upstream) -> None:
    """Delete an upstream that no route leads to.

    Raises:
        Conflict: a route does.
    """
    emit(session, UpstreamChanged(upstream_id=upstream.id))
    session.delete(upstream)
    try:
        session.flush()
    except IntegrityError as error:
        raise _IN_USE from error


def delete_tenant_upstreams(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete up to *limit* upstreams of a tenant that has no routes any more; return how many."""
    found = session.scalars(upstreams_of(tenant_id).limit(limit)).all()
    for upstream in found:
        delete_upstream(session, upstream)
    return len(found)


def targets_changed(session: Session, discovery: str) -> None:
    """Publish the upstreams whose targets a plugin knows by the name *discovery* again."""
    with tenancy.platform_context():
        ids = session.scalars(select(Upstream.id).where(Upstream.discovery == discovery)).all()
    for upstream_id in ids:
        emit(session, UpstreamChanged(upstream_id=upstream_id))


def upstreams_of(tenant_id: uuid.UUID | None) -> Select[Upstream]:
    """Return the query for the upstreams of a tenant, None for those of the platform."""
    return select(Upstream).where(Upstream.tenant_id == tenant_id).order_by(Upstream.id)


def upstream_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of those of *ids* that are upstreams."""
    rows = session.execute(select(Upstream.id, Upstream.name).where(Upstream.id.in_(ids)))
    return {upstream_id: name for upstream_id, name in rows}  # noqa: C416 - a Row is no pair


def service_keys(session: Session, tenant_id: uuid.UUID | None, name: str) -> list[str]:
    """Return `upstream:<id>` of the usable upstreams that have this name, or this key."""
    named = Upstream.name == name
    if name.startswith("upstream:"):
        with contextlib.suppress(ValueError):
            named |= Upstream.id == uuid.UUID(name.removeprefix("upstream:"))
    with tenancy.platform_context():  # the shared ones are nobody's
        found = session.scalars(select(Upstream.id).where(named, _usable(tenant_id)))
        return [f"upstream:{upstream_id}" for upstream_id in found]


def known_services(session: Session, tenant_id: uuid.UUID | None) -> list[Service]:
    """Return the upstreams that routes of a tenant may name, all of them without a tenant."""
    query = select(Upstream.id, Upstream.name, Upstream.tenant_id).where(_usable(tenant_id))
    with tenancy.platform_context():  # the shared ones are nobody's
        rows = session.execute(query).all()
    return [Service(f"upstream:{upstream_id}", name, owner) for upstream_id, name, owner in rows]
