"""Verifies chains as they stand in the database, without holding more than one row of them."""

import uuid
from collections.abc import Iterator, Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from control_plane.audit import chain
from control_plane.audit.chain import START, Link
from control_plane.audit.inspection import Fault, Inspection, Kind
from control_plane.audit.models import AuditCut, AuditLog

_ROWS_AT_ONCE = 1000


def verify(
    session: Session, key: bytes, anchors: Mapping[str, Link], only: str | None = None
) -> Iterator[Fault]:
    """Yield what is wrong with all chains, or with the one called *only*."""
    names = {only} if only is not None else {*_names(session), *anchors}
    for name in sorted(names):
        yield from _verify_chain(session, key, name, anchors.get(name))


def _names(session: Session) -> set[str]:
    tenants = {
        tenant_id
        for entity in (AuditLog, AuditCut)
        for tenant_id in session.scalars(select(entity.tenant_id).distinct())
    }
    return {chain.name_of(tenant_id) for tenant_id in tenants}


def _verify_chain(session: Session, key: bytes, name: str, anchor: Link | None) -> Iterator[Fault]:
    tenant_id = _tenant_of(name)
    start = START
    for cut in session.scalars(select(AuditCut).where(chain.of(AuditCut, tenant_id))):
        link = Link(cut.seq, cut.hash)
        if cut.proof != chain.proof_of(key, tenant_id, link):
            yield Fault(name, Kind.EDITED, cut.seq, cut.seq)
        elif cut.seq > start.seq:
            start = link
    rows = session.scalars(
        select(AuditLog)
        .where(chain.of(AuditLog, tenant_id), AuditLog.seq > start.seq)
        .order_by(AuditLog.seq)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    inspection = Inspection(name, start, lambda row: chain.is_whole(key, row))
    yield from inspection.faults(rows, anchor)


def count(session: Session, only: str | None) -> int:
    """Return how many rows all chains have, or the one called *only*."""
    query = select(func.count()).select_from(AuditLog)
    if only is not None:
        query = query.where(chain.of(AuditLog, _tenant_of(only)))
    return session.scalar(query) or 0


def _tenant_of(name: str) -> uuid.UUID | None:
    return None if name == chain.PLATFORM else uuid.UUID(name)
