"""Appends what a transaction did to the chains, last thing before its commit."""

import contextlib
import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from control_plane.audit import chain
from control_plane.audit.chain import START, Link
from control_plane.audit.models import AuditCut, AuditLog
from control_plane.core import clock, locks, occasions, tenancy
from control_plane.core.audit_entries import Entry
from control_plane.core.database import keyring
from control_plane.core.ids import new_id
from control_plane.core.plain import canonical

MOST_BYTES = 16 * 1024
"""What is kept of the state before, and of that after; larger fields are replaced by a digest."""

_COLUMNS = (*chain.SIGNED, "seq", "prev", "hash")
_LOCK = 0x5975_4175


def append(session: Session, entries: Iterable[Entry]) -> None:
    """Append *entries* to their chains.

    A chain is held from here to the end of the transaction, so that no two rows hang on one. All
    take chains in the same order, and nothing else after them: they cannot wait for each other.
    """
    chains: dict[uuid.UUID | None, list[Entry]] = {}
    for entry in entries:
        chains.setdefault(entry.tenant_id, []).append(entry)
    for tenant_id in sorted(chains, key=chain.name_of):
        with _seeing(tenant_id):
            _append(session, tenant_id, chains[tenant_id])


def head(session: Session, tenant_id: uuid.UUID | None) -> Link:
    """Return the last row of a chain, or what its next row hangs on."""
    for entity in (AuditLog, AuditCut):
        query = select(entity.seq, entity.hash).where(chain.of(entity, tenant_id))
        query = query.order_by(entity.seq.desc()).limit(1)
        found = session.connection().execute(query).one_or_none()
        if found is not None:
            return Link(*found)
    return START


def hold(session: Session, tenant_id: uuid.UUID | None) -> None:
    """Keep others from appending to a chain until the transaction ends."""
    digest = hashlib.sha256(chain.name_of(tenant_id).encode("ascii")).digest()
    locks.hold(session, _LOCK, int.from_bytes(digest[:4], "big", signed=True))


def _append(session: Session, tenant_id: uuid.UUID | None, entries: Sequence[Entry]) -> None:
    key, rows = chain.key_of(keyring(session)), [_row(tenant_id, entry) for entry in entries]
    hold(session, tenant_id)
    # Others wait from here on: what can be done before is, and nothing goes by way of objects.
    last, now = head(session, tenant_id), clock.now()
    for row in rows:
        row.created_at, row.seq, row.prev = now, last.seq + 1, last.hash
        row.hash = chain.hash_of(key, row.prev, row)
        last = Link(row.seq, row.hash)
    values = [{name: getattr(row, name) for name in _COLUMNS} for row in rows]
    session.connection().execute(insert(AuditLog), values)


def _row(tenant_id: uuid.UUID | None, entry: Entry) -> AuditLog:
    occasion = occasions.current()
    actor_type, actor = occasion.actor
    return AuditLog(
        id=new_id(),
        tenant_id=tenant_id,
        actor_type=actor_type,
        actor=actor,
        operation=occasion.operation,
        action=entry.action,
        resource_type=entry.resource_type,
        resource_id=entry.resource_id,
        outcome=entry.outcome,
        before=_bounded(entry.before),
        after=_bounded(entry.after),
        request_id=occasion.request_id,
        address=occasion.address,
    )


def _bounded(values: Mapping[str, Any] | None) -> str | None:
    """Return *values* as text, the largest ones replaced until it is short enough."""
    if values is None:
        return None
    text, kept = canonical(values), dict(values)
    by_size = sorted(values, key=lambda name: len(canonical(values[name])))
    while len(text) > MOST_BYTES:
        name = by_size.pop()
        cut = canonical(values[name])
        digest = hashlib.sha256(cut.encode("ascii")).hexdigest()
        kept[name] = {"truncated": True, "bytes": len(cut), "sha256": digest}
        text = canonical(kept)
    return text


def _seeing(tenant_id: uuid.UUID | None) -> contextlib.AbstractContextManager[None]:
    """Return a scope that sees the chain; the present one where it does, which costs nothing."""
    if tenancy.scope_text() in {"platform", chain.name_of(tenant_id)}:
        return contextlib.nullcontext()
    return tenancy.platform_context()
