"""What can be done with a tenant's issuers."""

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core import clock, pagination
from control_plane.core.errors import Conflict, NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.pagination import Page
from control_plane.core.schemas import Order
from control_plane.issuers.events import IssuersChanged
from control_plane.issuers.models import Issuer, KeySet

MOST_ISSUERS = 10
"""Of a tenant: gateways hold them in one document."""


def list_issuers(
    session: Session, tenant_id: uuid.UUID, *, page: int, page_size: int, sort: Order = ()
) -> Page[Issuer]:
    """Return a tenant's issuers, the oldest first unless *sort* says otherwise."""
    tenants.get_tenant(session, tenant_id)
    query = issuers_of(tenant_id).order_by(None).order_by(*pagination.ordering(Issuer, sort))
    return pagination.page(session, query, page, page_size)


def get_issuer(session: Session, tenant_id: uuid.UUID, issuer_id: uuid.UUID) -> Issuer:
    """Return one issuer of a tenant.

    Raises:
        NotFound: the tenant has no such issuer.
    """
    issuer = session.get(Issuer, issuer_id)
    if issuer is None or issuer.tenant_id != tenant_id:
        raise NotFound("issuer")
    return issuer


def create_issuer(session: Session, tenant_id: uuid.UUID, values: Mapping[str, Any]) -> Issuer:
    """Take an issuer's tokens at the tenant's domains, as soon as its keys are fetched.

    Raises:
        Conflict: the tenant has it already, or has too many.
    """
    tenants.get_tenant(session, tenant_id, lock=True)
    known = select(func.count()).select_from(Issuer).where(Issuer.tenant_id == tenant_id)
    if (session.scalar(known) or 0) >= MOST_ISSUERS:
        raise Conflict("too_many_issuers", f"A tenant may have {MOST_ISSUERS} issuers.")
    issuer = Issuer(id=new_id(), tenant_id=tenant_id, **values)
    issuer.key_set = KeySet(tenant_id=tenant_id)
    session.add(issuer)
    _flush(session)
    emit(session, IssuersChanged(tenant_id=tenant_id))
    return issuer


def update_issuer(session: Session, issuer: Issuer, values: Mapping[str, Any]) -> Issuer:
    """Change an issuer; keys that were fetched from elsewhere are not taken any more.

    Raises:
        Conflict: the tenant has another one with this `issuer`.
    """
    before = (issuer.issuer, issuer.jwks_url)
    for name, value in values.items():
        setattr(issuer, name, value)
    if (issuer.issuer, issuer.jwks_url) != before:
        issuer.key_set.keys = []
        issuer.key_set.fetched_at = None
    fetch_soon(issuer)
    _flush(session)
    emit(session, IssuersChanged(tenant_id=issuer.tenant_id))
    return issuer


def fetch_soon(issuer: Issuer) -> None:
    """Have the worker fetch the issuer's keys at once, not at its next turn."""
    issuer.key_set.due_at = clock.now()


def delete_issuer(session: Session, issuer: Issuer) -> None:
    """Take no tokens of an issuer any more."""
    session.delete(issuer)
    session.flush()
    emit(session, IssuersChanged(tenant_id=issuer.tenant_id))


def delete_tenant_issuers(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete up to *limit* issuers of a tenant; return how many."""
    found = session.scalars(issuers_of(tenant_id).limit(limit)).all()
    for issuer in found:
        delete_issuer(session, issuer)
    return len(found)


def issuers_of(tenant_id: uuid.UUID) -> Select[Issuer]:
    """Return the query for a tenant's issuers, the oldest first."""
    return select(Issuer).where(Issuer.tenant_id == tenant_id).order_by(Issuer.id)


def issuer_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return what those of *ids* that are issuers are called."""
    rows = session.execute(select(Issuer.id, Issuer.issuer).where(Issuer.id.in_(ids)))
    return {issuer_id: name for issuer_id, name in rows}  # noqa: C416 - a Row is no pair


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict("issuer_exists", "This tenant has this issuer already.") from error
