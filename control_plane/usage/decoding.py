"""Turns the journal's records into rows, and refuses what no database could keep."""

import datetime
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from control_plane.contract import journal
from control_plane.contract.journal import JournalError, Kind, Outcome, Record, UsageSource
from control_plane.contract.usage_stream import Chunk
from control_plane.core.types import DECIMAL_PLACES

_CONTEXT = Context(prec=80)
_CENT = Decimal(1).scaleb(-DECIMAL_PLACES)
_MAX_COST = Decimal(10) ** 26
_MAX_INTEGER = 2**63 - 1
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,12})?")
_EPOCH = datetime.date(1970, 1, 1)
_DAY_US = 86_400_000_000
_MAX_DAYS = (datetime.date.max - _EPOCH).days

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that is not a record: where it stands, why, and its bytes."""

    place: str
    detail: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """A call as one of its records tells it: the row that it makes, and the record."""

    row: Row
    record: bytes


@dataclass(slots=True)
class Decoded:
    """What a chunk holds: by seq the calls that began and those that ended, and what is refused."""

    begun: dict[int, Call] = field(default_factory=dict)
    ended: dict[int, Call] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)


def decode(chunk: Chunk) -> Decoded:
    """Return what *chunk* holds."""
    decoded = Decoded()
    if chunk.damage:
        decoded.refused.append(Refused(str(chunk.start), chunk.damage, chunk.data))
        return decoded
    at = 0
    for end, payload in journal.read_frames(chunk.data):
        try:
            row = event_row(chunk.writer, payload)
        except JournalError as error:
            # Told by its bytes: the same record comes again in chunks with other borders.
            place = f"record {journal.FRAME.unpack_from(chunk.data, at)[1]:08x}"
            decoded.refused.append(Refused(place, str(error), payload))
        else:
            orphan = row["outcome"] == Outcome.ORPHAN
            (decoded.begun if orphan else decoded.ended)[row["seq"]] = Call(row, payload)
        at = end
    if at < len(chunk.data):
        place = f"{chunk.end} -{len(chunk.data) - at}"
        decoded.refused.append(Refused(place, "no sound record stands here", chunk.data[at:]))
    return decoded


def event_row(writer: str, payload: bytes) -> Row:
    """Return the row of `usage_events` for a record; a begin is the orphan that it may become.

    Raises:
        JournalError: it is not a record, or one that cannot be stored.
    """
    record = journal.read_record(payload)
    _check(record)
    orphan = record.kind is Kind.BEGIN
    known = record.usage_source is not UsageSource.UNKNOWN and not orphan
    complete = record.outcome is Outcome.COMPLETE and not orphan
    return {
        "day": day_of(record.started_us),
        "writer": writer,
        "seq": record.seq,
        "tenant_id": record.tenant,
        "started_us": record.started_us,
        "duration_us": record.duration_us,
        "first_byte_us": record.first_byte_us,
        "endpoint": record.endpoint,
        "request_id": record.request_id,
        "key_id": record.key,
        "model_id": record.model,
        "user_id": record.user_id,
        "outcome": int(Outcome.ORPHAN if orphan else record.outcome),
        "status": record.status,
        "upstream_status": record.upstream_status,
        "is_stream": bool(record.flags & journal.FLAG_STREAM),
        "events": record.events,
        "request_bytes": record.request_bytes,
        "response_bytes": record.response_bytes,
        "usage_source": int(record.usage_source),
        "tokens_in": record.tokens_in if known else None,
        "tokens_out": record.tokens_out if known else None,
        "tokens_cached": record.tokens_cached if known else None,
        "tokens_reasoning": record.tokens_reasoning if known else None,
        "cost": rate(record.cost_per_call, record.cost_multiplier) if complete else Decimal(0),
    }


def day_of(started_us: int) -> datetime.date:
    """Return the UTC date of a moment in microseconds since 1970."""
    return _EPOCH + datetime.timedelta(days=started_us // _DAY_US)


@functools.lru_cache(maxsize=4096)
def rate(cost_per_call: str, multiplier: str) -> Decimal:
    """Return the cost of a complete call, exact to the 12 places that are stored.

    Raises:
        JournalError: a text is not a decimal, or the cost is beyond what is stored.
    """
    if not (_DECIMAL.fullmatch(cost_per_call) and _DECIMAL.fullmatch(multiplier)):
        raise JournalError(f"not a price: {cost_per_call[:40]!r} times {multiplier[:40]!r}")
    exact = _CONTEXT.multiply(Decimal(cost_per_call), Decimal(multiplier))
    cost = exact.quantize(_CENT, ROUND_HALF_EVEN, _CONTEXT)
    if cost >= _MAX_COST:
        raise JournalError(f"price too large: {cost_per_call} times {multiplier}")
    return cost


def _check(record: Record) -> None:
    for name, value in _unbounded(record):
        if value > _MAX_INTEGER:
            raise JournalError(f"{name} is too large: {value}")
    if record.seq == 0 or record.started_us // _DAY_US > _MAX_DAYS:
        raise JournalError(f"seq {record.seq} started at {record.started_us} microseconds")
    if record.kind is Kind.END and record.outcome in (Outcome.NONE, Outcome.ORPHAN):
        raise JournalError(f"an end cannot say {record.outcome.name}")
    if any("\0" in getattr(record, name) for name in journal.RECORD_STRINGS):
        raise JournalError("a text holds NUL")
    rate(record.cost_per_call, record.cost_multiplier)


def _unbounded(record: Record) -> Iterator[tuple[str, int]]:
    for name in ("seq", "started_us", "duration_us", "request_bytes", "response_bytes"):
        yield name, getattr(record, name)
