"""Takes chunks of journals into the database, in the caller's transaction, each call exactly once.

Every step can be repeated: the same chunk taken in again changes nothing. An orphan, a call whose
end is lost, is decided only when its writer is dead and its whole journal has arrived.
"""

import dataclasses
import datetime
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import ARRAY, delete, func, inspect, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from control_plane.contract.journal import Outcome
from control_plane.contract.usage_stream import CONFIRMED_ENDED, Chunk, Position
from control_plane.core import clock
from control_plane.usage.coverage import Stretch, cover, is_covered, reached
from control_plane.usage.decoding import Call, Refused, Row, decode, event_row
from control_plane.usage.models import UsageEvent, UsagePending, UsageQuarantine, UsageWriter

_IN_LIST = 1000
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

log = structlog.get_logger(__name__)


@dataclasses.dataclass(slots=True)
class Arrival:
    """What a batch brings of one writer."""

    begun: dict[int, Call] = dataclasses.field(default_factory=dict)
    ended: dict[int, Call] = dataclasses.field(default_factory=dict)
    refused: list[tuple[Refused, Chunk]] = dataclasses.field(default_factory=list)
    stretches: list[Stretch] = dataclasses.field(default_factory=list)
    intact: list[Stretch] = dataclasses.field(default_factory=list)
    end: Position | None = None

    def add(self, chunk: Chunk) -> None:
        """Add what *chunk* holds."""
        decoded = decode(chunk)
        self.begun |= decoded.begun
        self.ended |= decoded.ended
        self.refused += [(refused, chunk) for refused in decoded.refused]
        self.stretches.append((chunk.start, chunk.end))
        if not chunk.damage:
            self.intact.append((chunk.start, chunk.end))
        if chunk.last:
            self.end = chunk.end


def collect(chunks: Iterable[Chunk]) -> dict[str, Arrival]:
    """Return what *chunks* bring, by writer, in the writers' order."""
    arrivals: dict[str, Arrival] = defaultdict(Arrival)
    for chunk in chunks:
        arrivals[chunk.writer].add(chunk)
    return dict(sorted(arrivals.items()))


def take_in(session: Session, arrivals: dict[str, Arrival]) -> dict[str, str]:
    """Store what arrived; return for each writer what to confirm.

    One transaction at a time works on a writer: its row is locked, always in the writers' order.
    """
    writers = _lock(session, arrivals)
    for writer, arrival in arrivals.items():
        _store_ended(session, writers[writer], arrival)
        _store_begun(session, writers[writer], arrival)
        _quarantine_refused(session, writers[writer], arrival)
        _advance(writers[writer], arrival)
        if _is_complete(writers[writer]):
            _decide_orphans(session, writers[writer])
    session.flush()
    return {writer: confirmation(row) for writer, row in writers.items()}


def keys_used(arrivals: dict[str, Arrival]) -> dict[uuid.UUID, datetime.datetime]:
    """Return the keys of the calls in *arrivals*, each with when its last call began."""
    latest: dict[uuid.UUID, int] = {}
    for arrival in arrivals.values():
        for call in (*arrival.begun.values(), *arrival.ended.values()):
            key = call.row["key_id"]
            latest[key] = max(latest.get(key, 0), call.row["started_us"])
    now = clock.now()
    # A gateway's clock may be ahead, and what is noted never goes back.
    return {
        key: min(now, _EPOCH + datetime.timedelta(microseconds=us)) for key, us in latest.items()
    }


def confirmation(row: UsageWriter) -> str:
    """Return what `usage:confirmed` says of a writer."""
    return CONFIRMED_ENDED if row.ended else str(reached(row.covered))


def quarantine(session: Session, entries: Sequence[Row]) -> None:
    """Keep what cannot be an event, once, and say so."""
    moment = clock.now()
    rows = [{**entry, "created_at": moment} for entry in entries]
    for writer, place, reason in _insert(session, UsageQuarantine, rows):
        log.error("usage quarantined", writer=writer, place=place, reason=reason)


def entry(writer: str, place: str, reason: str, detail: str, data: bytes = b"") -> Row:
    """Return a row for `quarantine`; writer, place and reason make it the same one again."""
    return {
        "writer": writer,
        "place": place,
        "reason": reason,
        "detail": detail,
        "data": data,
    }


def _lock(session: Session, arrivals: dict[str, Arrival]) -> dict[str, UsageWriter]:
    moment = clock.now()
    unknown = {"covered": [], "ended": False, "last_seq": 0, "decided": 0, "changed_at": moment}
    _insert(session, UsageWriter, [{"writer": writer, **unknown} for writer in arrivals])
    locked = (
        select(UsageWriter)
        .where(UsageWriter.writer.in_(arrivals))
        .order_by(UsageWriter.writer)
        .with_for_update()
    )
    return {row.writer: row for row in session.scalars(locked)}


def _store_ended(session: Session, row: UsageWriter, arrival: Arrival) -> None:
    """Insert the events of calls that ended; their begins have done their duty."""
    ended = arrival.ended
    inserted = _insert(session, UsageEvent, [call.row for call in ended.values()])
    row.decided += len(inserted)
    for part in _batches(ended):
        session.execute(
            delete(UsagePending)
            .where(UsagePending.writer == row.writer, UsagePending.seq.in_(part))
            .execution_options(synchronize_session=False)
        )
    stored_before = ended.keys() - {seq for _, _, seq in inserted}
    orphans = _decided(session, {seq: ended[seq] for seq in stored_before}, Outcome.ORPHAN)
    detail = "the call had been decided as an orphan"
    quarantine(
        session,
        [entry(row.writer, f"seq {seq}", "late", detail, ended[seq].record) for seq in orphans],
    )


def _store_begun(session: Session, row: UsageWriter, arrival: Arrival) -> None:
    """Remember the calls that began and of whose end nothing is known."""
    unended = {seq: call for seq, call in arrival.begun.items() if seq not in arrival.ended}
    decided = _decided(session, unended)
    rows = [
        {"writer": row.writer, "seq": seq, "record": call.record}
        for seq, call in unended.items()
        if seq not in decided
    ]
    _insert(session, UsagePending, rows)


def _quarantine_refused(session: Session, row: UsageWriter, arrival: Arrival) -> None:
    """Keep what was no record, unless that stretch of the journal arrived before it broke."""
    arrived = cover(row.covered, arrival.intact)
    entries = [
        entry(
            row.writer,
            refused.place,
            "damaged" if chunk.damage else "undecodable",
            refused.detail,
            refused.data,
        )
        for refused, chunk in arrival.refused
        if not (chunk.damage and is_covered(arrived, chunk.start, chunk.end))
    ]
    quarantine(session, entries)


def _advance(row: UsageWriter, arrival: Arrival) -> None:
    row.covered = cover(row.covered, arrival.stretches)
    row.last_seq = max(row.last_seq, 0, *arrival.begun, *arrival.ended)
    row.changed_at = clock.now()
    if arrival.end is not None:
        row.end = list(arrival.end)


def _is_complete(row: UsageWriter) -> bool:
    """Say whether an end that has not come is now known to never come."""
    return not row.ended and row.end is not None and reached(row.covered) >= Position(*row.end)


def _decide_orphans(session: Session, row: UsageWriter) -> None:
    """Make events of the calls without an end, and report calls of which nothing is left."""
    pending = select(UsagePending.record).where(UsagePending.writer == row.writer)
    orphans = [event_row(row.writer, record) for record in session.scalars(pending)]
    row.decided += len(_insert(session, UsageEvent, orphans))
    session.execute(
        delete(UsagePending)
        .where(UsagePending.writer == row.writer)
        .execution_options(synchronize_session=False)
    )
    row.ended = True
    if orphans:
        log.warning("usage orphans decided", writer=row.writer, calls=len(orphans))
    missing = row.last_seq - row.decided
    if missing:
        detail = f"{missing} of {row.last_seq} calls left no record"
        quarantine(session, [entry(row.writer, "end", "missing", detail)])


def _decided(
    session: Session, calls: Mapping[int, Call], outcome: Outcome | None = None
) -> set[int]:
    """Return which of one writer's *calls* have an event (of *outcome*) already."""
    decided: set[int] = set()
    for part in _batches(calls):
        rows = [calls[seq].row for seq in part]
        events = select(UsageEvent.seq).where(
            UsageEvent.day.in_({row["day"] for row in rows}),
            UsageEvent.writer == rows[0]["writer"],
            UsageEvent.seq.in_(part),
        )
        if outcome is not None:
            events = events.where(UsageEvent.outcome == outcome)
        decided.update(session.scalars(events))
    return decided


def _insert(session: Session, entity: type[Any], rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Insert those *rows* that are not there; return the primary keys of those inserted."""
    if not rows:
        return []
    key = inspect(entity).primary_key
    if session.get_bind().dialect.name == "sqlite":
        insert = sqlite.insert(entity).on_conflict_do_nothing().returning(*key)
        return [tuple(row) for row in session.execute(insert, rows)]
    # A column is one array: a statement with a parameter for each value takes longer to read than
    # to run.
    arrays = [
        literal(
            [row[name] for row in rows], ARRAY(inspect(entity).columns[name].type, dimensions=1)
        )
        for name in rows[0]
    ]
    source = func.unnest(*arrays).table_valued(*rows[0]).render_derived()
    statement = postgresql.insert(entity).from_select(list(rows[0]), select(source))
    inserted = session.execute(statement.on_conflict_do_nothing().returning(*key))
    return [tuple(row) for row in inserted]


def _batches(seqs: Iterable[int]) -> Iterator[list[int]]:
    """Yield *seqs* in lists that a statement can take."""
    ordered = sorted(seqs)
    for start in range(0, len(ordered), _IN_LIST):
        yield ordered[start : start + _IN_LIST]
