"""Sees what each transaction changes, and has it recorded before the commit, in the same one.

No room, command or job has to remember it: rows are seen as they are flushed, and statements that
change many at once as they are executed. What is recorded of a row: see `core.audit_entries`.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import event, inspect, select
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, SessionTransaction, sessionmaker

from control_plane.core import plugins, tenancy
from control_plane.core.audit_entries import Action, Entry, entry_of, key_names, shown, told

FORGETTING = "yumen_forgetting"
"""Execution option of a DELETE of rows that are over: their end was recorded when it came."""

_PENDING = "yumen_audit"


@dataclasses.dataclass(frozen=True)
class _Bulk:
    """Rows that a statement changed, as they were before it."""

    mapper: Mapper[Any]
    keys: Sequence[tuple[Any, ...]]
    before: Sequence[Mapping[str, Any]]


class _Pending:
    """What a session's transaction has changed, and how much of it at each savepoint."""

    def __init__(self) -> None:
        self.found: list[Entry | _Bulk] = []
        self.marks: dict[SessionTransaction, int] = {}


class AuditingError(RuntimeError):
    """A statement changes rows in a way that cannot be recorded: a mistake in our code."""


def listen(sessions: sessionmaker[Session]) -> None:
    """Follow what the sessions of *sessions* do."""
    event.listen(sessions, "do_orm_execute", _see_statement)
    event.listen(sessions, "after_flush", _see_flush)
    event.listen(sessions, "before_commit", _record)
    event.listen(sessions, "after_transaction_create", _mark)
    event.listen(sessions, "after_soft_rollback", _forget)
    event.listen(sessions, "after_commit", _finish)


def record(session: Session, entry: Entry) -> None:
    """Have *entry* recorded with the session's transaction."""
    _pending(session).found.append(entry)


def first_entry(session: Session) -> Entry | None:
    """Return the first thing that the session's transaction has changed, None if there is none."""
    session.flush()
    return next(iter(_entries(session, _pending(session).found)), None)


def _pending(session: Session) -> _Pending:
    return cast("_Pending", session.info.setdefault(_PENDING, _Pending()))


def _see_flush(session: Session, _context: object) -> None:
    """Note the rows of a flush, whose former values are still known here."""
    for action, rows in (
        (Action.CREATE, session.new),
        (Action.UPDATE, session.dirty),
        (Action.DELETE, session.deleted),
    ):
        for row in rows:
            mapper = inspect(row).mapper
            if mapper.class_.audited:
                _note_row(session, action, mapper, row)


def _note_row(session: Session, action: Action, mapper: Mapper[Any], row: Any) -> None:
    state = inspect(row)
    present = {prop.key: state.dict.get(prop.key) for prop in mapper.column_attrs}
    if action is Action.UPDATE:
        # Of a row that was expired only what was set is known here, and not yet whose it is.
        present |= {name: getattr(row, name) for name in present if name not in state.dict}
    columns = dict(shown(mapper))
    if action is Action.UPDATE:
        changed = [name for name in columns if state.attrs[name].history.has_changes()]
        if not changed:
            return
        former = {name: state.attrs[name].history.deleted for name in changed}
        before = {n: told(columns[n], former[n][0] if former[n] else None) for n in changed}
        after = {name: told(columns[name], present[name]) for name in changed}
    else:
        values = {name: told(column, present[name]) for name, column in columns.items()}
        before, after = ({}, values) if action is Action.CREATE else (values, {})
    record(session, entry_of(session, action, mapper, present, before, after))


def _see_statement(state: ORMExecuteState) -> None:
    """Note the rows that an UPDATE or a DELETE is about to change."""
    mapper = state.bind_mapper
    if mapper is None or not mapper.class_.audited:
        return
    if not (state.is_insert or state.is_update or state.is_delete):
        return
    if state.execution_options.get(FORGETTING):
        return
    if state.is_insert or isinstance(state.parameters, list):
        raise AuditingError(f"Change {mapper.class_.__name__} rows in the session, one by one.")
    properties = list(mapper.column_attrs)
    wanted = select(*(getattr(mapper.class_, each.key) for each in properties))
    where = cast("Any", state.statement).whereclause
    if where is not None:
        wanted = wanted.where(where)
    rows = state.session.execute(wanted.with_for_update(), state.parameters or {}).all()
    found = [{p.key: value for p, value in zip(properties, row, strict=True)} for row in rows]
    if state.is_update:
        keys = [tuple(row[name] for name in key_names(mapper)) for row in found]
        _pending(state.session).found.append(_Bulk(mapper, keys, found))
        return
    for columns in found:
        before = {name: told(column, columns[name]) for name, column in shown(mapper)}
        entry = entry_of(state.session, Action.DELETE, mapper, columns, before, {})
        record(state.session, entry)


def _updated(session: Session, bulk: _Bulk) -> Iterator[Entry]:
    """Yield what became of the rows that a statement updated."""
    columns = dict(shown(bulk.mapper))
    key = [getattr(bulk.mapper.class_, name) for name in key_names(bulk.mapper)]
    values = [getattr(bulk.mapper.class_, name) for name in columns]
    for pair, was in zip(bulk.keys, bulk.before, strict=True):
        same = [column == value for column, value in zip(key, pair, strict=True)]
        row = session.execute(select(*values).where(*same)).one_or_none()
        if row is None:
            continue
        changed = [
            (name, value) for name, value in zip(columns, row, strict=True) if value != was[name]
        ]
        if changed:
            before = {name: told(columns[name], was[name]) for name, _ in changed}
            after = {name: told(columns[name], value) for name, value in changed}
            yield entry_of(session, Action.UPDATE, bulk.mapper, was, before, after)


def _record(session: Session) -> None:
    """Have everything recorded that the transaction changed (SQLAlchemy's `before_commit`)."""
    if session.in_nested_transaction():
        return
    session.flush()
    pending = session.info.get(_PENDING)
    if pending is None or not pending.found:
        return
    found, pending.found = pending.found, []
    # The scope of the change may be over, as where a transaction is around it.
    with contextlib.nullcontext() if tenancy.scope_text() else tenancy.platform_context():
        entries = list(_entries(session, found))
        if entries:
            plugins.manager().hook.yumen_record(session=session, entries=entries)


def _entries(session: Session, found: Iterable[Entry | _Bulk]) -> Iterator[Entry]:
    for each in found:
        if isinstance(each, Entry):
            yield each
        else:
            yield from _updated(session, each)


def _mark(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        pending = _pending(session)
        pending.marks[transaction] = len(pending.found)


def _forget(session: Session, previous: SessionTransaction) -> None:
    """Forget what was rolled back: all, or what came after the savepoint.

    A flush is a part of its transaction: when it fails, that one is rolled back next.
    """
    if previous.parent is None:
        session.info.pop(_PENDING, None)
    elif previous.nested:
        pending = _pending(session)
        del pending.found[pending.marks.pop(previous, 0) :]


def _finish(session: Session) -> None:
    if not session.in_nested_transaction():
        session.info.pop(_PENDING, None)
