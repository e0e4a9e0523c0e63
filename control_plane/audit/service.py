"""Shows what was recorded."""

import dataclasses
import datetime
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import inspect, select, tuple_
from sqlalchemy.orm import Session

from control_plane.audit.models import AuditLog
from control_plane.core import tenancy
from control_plane.core.errors import Invalid, NotFound
from control_plane.core.pagination import decode_cursor, encode_cursor

_EXPORTED_AT_ONCE = 500
_POSITION = (AuditLog.created_at, AuditLog.seq, AuditLog.id)
_MOST = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class LogPage:
    """Some entries as the API shows them, and where the next ones begin."""

    entries: Sequence[dict[str, Any]]
    next_cursor: str | None


def list_logs(
    session: Session, filters: Mapping[str, Any], cursor: str | None, limit: int
) -> LogPage:
    """Return the entries that the current scope may see, the newest first, from *cursor* on.

    *filters* are values that columns must have; `start` and `end` bound the time.

    Raises:
        NotFound: they name another tenant.
        Invalid: the cursor is not one of ours.
    """
    mine = tenancy.current_tenant_id()
    if mine is not None and filters.get("tenant_id", mine) != mine:
        raise NotFound("tenant")
    query = select(AuditLog)
    for name, value in filters.items():
        if name == "start":
            query = query.where(AuditLog.created_at >= value)
        elif name == "end":
            query = query.where(AuditLog.created_at < value)
        else:
            query = query.where(getattr(AuditLog, name) == value)
    if cursor is not None:
        last = _cursor_position(cursor)
        # The first condition alone lets the index find the place.
        query = query.where(AuditLog.created_at <= last[0], tuple_(*_POSITION) < tuple_(*last))
    newest_first = query.order_by(*(column.desc() for column in _POSITION)).limit(limit + 1)
    rows = session.scalars(newest_first).all()
    shown = rows[:limit]
    more = len(rows) > limit
    return LogPage([_described(row) for row in shown], _cursor(shown[-1]) if more else None)


def get_log(session: Session, log_id: uuid.UUID) -> dict[str, Any]:
    """Return an entry that the current scope may see.

    Raises:
        NotFound: there is none.
    """
    row = session.scalar(select(AuditLog).where(AuditLog.id == log_id))
    if row is None:
        raise NotFound("audit_log")
    return _described(row)


def all_logs(session: Session, tenant_id: uuid.UUID) -> Iterator[Sequence[dict[str, Any]]]:
    """Yield all entries of a tenant, the newest first, some at a time."""
    cursor: str | None = None
    while True:
        page = list_logs(session, {"tenant_id": tenant_id}, cursor, _EXPORTED_AT_ONCE)
        if page.entries:
            yield page.entries
        cursor = page.next_cursor
        if cursor is None:
            return


def _described(row: AuditLog) -> dict[str, Any]:
    """Return an entry with its states as the JSON that they are."""
    columns = {prop.key: getattr(row, prop.key) for prop in inspect(AuditLog).column_attrs}
    states = {
        name: None if columns[name] is None else json.loads(columns[name])
        for name in ("before", "after")
    }
    return columns | states


def _cursor(row: AuditLog) -> str:
    return encode_cursor([row.created_at.isoformat(), row.seq, str(row.id)])


def _cursor_position(cursor: str) -> tuple[datetime.datetime, int, uuid.UUID]:
    """Return time, number and id of the last entry shown.

    Raises:
        Invalid: no entry can have these.
    """
    created_at, seq, log_id = decode_cursor(cursor, str, int, str)
    try:
        moment = datetime.datetime.fromisoformat(created_at)
        position = (moment.astimezone(datetime.UTC), seq, uuid.UUID(log_id))
    except (ValueError, OverflowError):
        position = None
    if position is None or moment.tzinfo is None or not 0 <= seq <= _MOST:
        raise Invalid([{"pointer": "?cursor", "detail": "This cursor is not valid."}])
    return position
