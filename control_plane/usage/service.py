"""What a tenant's calls used and cost: sums over a period, and the single calls."""

import dataclasses
import datetime
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Context, Decimal
from typing import Any

from sqlalchemy import ColumnElement, Select, func, inspect, literal, select, tuple_
from sqlalchemy.orm import Session

from control_plane.contract.journal import Outcome, UsageSource
from control_plane.core import plugins
from control_plane.core.errors import Invalid
from control_plane.core.pagination import decode_cursor, encode_cursor
from control_plane.core.types import plain
from control_plane.usage import periods
from control_plane.usage.decoding import event_row
from control_plane.usage.models import Grouping, UsageEvent, UsagePending
from control_plane.usage.periods import Period

_EXACT = Context(prec=80)
_EXPORTED_AT_ONCE = 1000
_NONE = uuid.UUID(int=0)
"""Stands in an event of a call that had no model, or no key."""
_MAX_INTEGER = 2**63 - 1
_WRITER = re.compile(r"[a-z0-9-]+")


@dataclasses.dataclass
class Figures:
    """Sums over calls."""

    cost: Decimal = Decimal(0)
    calls: int = 0
    errors: int = 0
    orphans: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def add(self, other: "Figures") -> None:
        """Add *other* to these."""
        self.calls += other.calls
        self.errors += other.errors
        self.orphans += other.orphans
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.cost = plain(_EXACT.add(self.cost, other.cost))


@dataclasses.dataclass
class Group(Figures):
    """The sums of one group."""

    key: str | None = None
    name: str | None = None


@dataclasses.dataclass
class Usage(Figures):
    """A tenant's usage in a period."""

    start: datetime.datetime = dataclasses.field(kw_only=True)
    end: datetime.datetime = dataclasses.field(kw_only=True)
    groups: Sequence[Group] = ()


@dataclasses.dataclass(frozen=True)
class EventPage:
    """Some calls as the API shows them, and where the next ones begin."""

    events: Sequence[dict[str, Any]]
    next_cursor: str | None


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Which calls: those that have all of these that are not None."""

    tenant_id: uuid.UUID | None = None
    key_id: uuid.UUID | None = None
    model_id: uuid.UUID | None = None
    user_id: str | None = None
    endpoint: str | None = None


@dataclasses.dataclass(frozen=True)
class Used:
    """What calls have used."""

    calls: int
    """With those that are under way."""
    tokens: int


def count_used(session: Session, period: Period, chosen: Chosen) -> Used:
    """Return what the *chosen* calls used that began in *period*, of whatever outcome."""
    start, end = (periods.microseconds(each) for each in (period.start, period.end))
    wanted = {name: value for name, value in vars(chosen).items() if value is not None}
    tokens = func.coalesce(UsageEvent.tokens_in, 0) + func.coalesce(UsageEvent.tokens_out, 0)
    query = select(func.count(), func.coalesce(func.sum(tokens), 0)).where(
        UsageEvent.day.between(period.start.date(), period.end.date()),
        UsageEvent.started_us >= start,
        UsageEvent.started_us < end,
        *(getattr(UsageEvent, name) == value for name, value in wanted.items()),
    )
    calls, used = session.execute(query).one()
    begun = (
        event_row(pending.writer, pending.record)
        for pending in session.scalars(select(UsagePending))
    )
    under_way = sum(
        start <= row["started_us"] < end
        and all(row[name] == value for name, value in wanted.items())
        for row in begun
    )
    return Used(calls + under_way, int(used))


def sum_usage(
    session: Session, tenant_id: uuid.UUID, period: Period, grouping: Grouping | None
) -> Usage:
    """Return the sums over a tenant's calls that began in *period*."""
    groups: dict[Any, Group] = {}
    for key, figures in _sums(session, tenant_id, period, grouping):
        groups.setdefault(key, Group()).add(figures)
    usage = Usage(start=period.start, end=period.end)
    for group in groups.values():
        usage.add(group)
    if grouping is not None:
        usage.groups = _labelled(session, groups, grouping)
    return usage


def all_events(session: Session, tenant_id: uuid.UUID) -> Iterator[Sequence[dict[str, Any]]]:
    """Yield all calls of a tenant as the API shows them, the newest first, some at a time."""
    page = list_events(session, tenant_id, None, None, _EXPORTED_AT_ONCE)
    while page.events:
        yield page.events
        if page.next_cursor is None:
            return
        page = list_events(session, tenant_id, None, page.next_cursor, _EXPORTED_AT_ONCE)


def list_events(
    session: Session, tenant_id: uuid.UUID, period: Period | None, cursor: str | None, limit: int
) -> EventPage:
    """Return a tenant's calls, the newest first, from *cursor* on.

    Those that began in *period*, all when it is None.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    position = (UsageEvent.started_us, UsageEvent.writer, UsageEvent.seq)
    query = _calls(select(UsageEvent), tenant_id, period)
    if cursor is not None:
        last = _cursor_position(cursor)
        # The first condition alone lets the index find the place.
        query = query.where(UsageEvent.started_us <= last[0], tuple_(*position) < tuple_(*last))
    newest_first = query.order_by(*(column.desc() for column in position)).limit(limit + 1)
    events = session.scalars(newest_first).all()
    shown = events[:limit]
    more = len(events) > limit
    end = [shown[-1].started_us, shown[-1].writer, shown[-1].seq] if more else None
    names = _names(session, {event.model_id for event in shown})
    described = [_describe(event, names) for event in shown]
    return EventPage(described, encode_cursor(end) if end else None)


def _cursor_position(cursor: str) -> list[Any]:
    """Return started_us, writer and seq of the last call shown.

    Raises:
        Invalid: no call can have these.
    """
    started_us, writer, seq = decode_cursor(cursor, int, str, int)
    if not (
        0 <= started_us <= _MAX_INTEGER and 0 <= seq <= _MAX_INTEGER and _WRITER.fullmatch(writer)
    ):
        raise Invalid([{"pointer": "?cursor", "detail": "This cursor is not valid."}])
    return [started_us, writer, seq]


def _describe(event: UsageEvent, names: Mapping[uuid.UUID, str]) -> dict[str, Any]:
    """Return an event as the API shows it."""
    columns = {name: getattr(event, name) for name in inspect(UsageEvent).column_attrs.keys()}  # noqa: SIM118 - not a dict
    called_model = event.model_id != _NONE
    return columns | {
        "id": f"{event.writer}-{event.seq}",
        "timestamp": periods.moment_of(event.started_us),
        "response_time": event.duration_us / 1000,
        "first_byte_time": event.first_byte_us / 1000 if event.first_byte_us else None,
        "status_code": event.status or None,
        "upstream_status": event.upstream_status or None,
        "user_id": event.user_id or None,
        "key_id": event.key_id if event.key_id != _NONE else None,
        "model_id": event.model_id if called_model else None,
        "model": names.get(event.model_id),
        "outcome": Outcome(event.outcome).name.lower(),
        "usage_source": UsageSource(event.usage_source).name.lower(),
    }


def _sums(
    session: Session, tenant_id: uuid.UUID, period: Period, grouping: Grouping | None
) -> Iterator[tuple[Any, Figures]]:
    """Yield (group, sums), a group in several parts.

    Rows are summed up by their cost as well, which neither database then has to add: few calls
    differ in cost, and the products here are exact on both.
    """
    ended = UsageEvent.outcome != Outcome.ORPHAN
    failed = UsageEvent.outcome.in_((Outcome.ABORTED, Outcome.FAILED))
    sums = (
        func.count().filter(ended),
        func.count().filter(failed),
        func.count().filter(~ended),
        func.coalesce(func.sum(UsageEvent.tokens_in), 0),
        func.coalesce(func.sum(UsageEvent.tokens_out), 0),
        func.sum(UsageEvent.request_bytes),
        func.sum(UsageEvent.response_bytes),
    )
    keys: dict[Grouping | None, ColumnElement[Any]] = {
        None: literal(0),
        Grouping.DAY: periods.day_number(period),
        Grouping.MODEL: UsageEvent.model_id.expression,
        Grouping.ENDPOINT: UsageEvent.endpoint.expression,
        Grouping.KEY: UsageEvent.key_id.expression,
    }
    query = _calls(
        select(keys[grouping].label("key"), UsageEvent.cost, func.count(), *sums),
        tenant_id,
        period,
    )
    for key, cost, count, *figures in session.execute(query.group_by("key", UsageEvent.cost)):
        total = _EXACT.multiply(cost, Decimal(count))
        yield key, Figures(total, *(int(figure) for figure in figures))


def _labelled(session: Session, groups: Mapping[Any, Group], grouping: Grouping) -> list[Group]:
    ids = groups.keys() if grouping in (Grouping.MODEL, Grouping.KEY) else ()
    names = _names(session, ids)
    for key, group in groups.items():
        group.key = None if key == _NONE else str(key)
        group.name = names.get(key)
        if grouping is Grouping.DAY:
            group.key = periods.day_text(key)
    return sorted(groups.values(), key=lambda group: group.key or "")


def _names(session: Session, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of those of *ids* that some room knows."""
    wanted = set(ids) - {_NONE}
    answers = plugins.manager().hook.yumen_names(session=session, ids=wanted) if wanted else []
    return {key: name for answer in answers for key, name in answer.items()}


def _calls(query: Select[Any], tenant_id: uuid.UUID, period: Period | None) -> Select[Any]:
    query = query.where(UsageEvent.tenant_id == tenant_id)
    if period is None:
        return query
    return query.where(
        UsageEvent.started_us >= periods.microseconds(period.start),
        UsageEvent.started_us < periods.microseconds(period.end),
    )
