"""Whatever is done to a chain is found, and named with the right numbers."""

import dataclasses
import datetime
import uuid
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.audit import chain
from control_plane.audit.chain import ORIGIN, START, Link
from control_plane.audit.inspection import Fault, Inspection, Kind
from control_plane.audit.models import AuditLog
from control_plane.core.audit_entries import Action, Outcome
from control_plane.core.occasions import ActorKind

KEY = b"k" * 32
AT = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the audit log, outside of any database."""

    seq: int
    prev: str = ORIGIN
    hash: str = ORIGIN
    operation: str = "test"
    id: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4)
    tenant_id: uuid.UUID | None = None
    created_at: datetime.datetime = AT
    actor_type: ActorKind = ActorKind.SYSTEM
    actor: str | None = None
    action: Action = Action.CALL
    resource_type: str | None = None
    resource_id: str | None = None
    outcome: Outcome = Outcome.DONE
    before: str | None = None
    after: str | None = None
    request_id: str | None = None
    address: str | None = None


Rows = list[Row]


def written(count: int) -> Rows:
    """Return a whole chain."""
    rows: Rows = []
    last = START
    for _ in range(count):
        row = Row(last.seq + 1, last.hash)
        row = dataclasses.replace(row, hash=chain.hash_of(KEY, last.hash, row))
        rows.append(row)
        last = Link(row.seq, row.hash)
    return rows


def inspect(rows: Sequence[Row], anchor: Row | None = None) -> list[tuple[Kind, int, int]]:
    def is_whole(row: AuditLog) -> bool:
        return chain.is_whole(KEY, row)

    known = None if anchor is None else Link(anchor.seq, anchor.hash)
    found = Inspection("platform", START, is_whole).faults(cast("Any", rows), known)
    return [(fault.kind, fault.first, fault.last) for fault in found]


def renumbered(rows: Rows) -> Rows:
    return [dataclasses.replace(row, seq=number) for number, row in enumerate(rows, 1)]


def edited(row: Row) -> Row:
    return dataclasses.replace(row, operation="something else")


def swapped(rows: Rows, first: int, second: int) -> Rows:
    """Let two rows change places, each with the number of its place."""
    order = list(rows)
    order[first], order[second] = rows[second], rows[first]
    return renumbered(order)


places = st.integers(0, 19)


@given(count=st.integers(0, 30))
def test_a_whole_chain_has_no_faults(count: int) -> None:
    rows = written(count)
    assert inspect(rows, rows[-1] if rows else None) == []


@given(at=places, rehashed=st.booleans())
def test_an_edited_row_is_named(at: int, rehashed: bool) -> None:
    rows = written(20)
    rows[at] = edited(rows[at])
    if rehashed:
        rows[at] = dataclasses.replace(rows[at], hash="f" * 64)
    assert inspect(rows, written(20)[-1])[:1] == [(Kind.EDITED, at + 1, at + 1)]
    anchor = Row(20, hash=rows[19].hash)
    assert inspect(rows, anchor) == [(Kind.EDITED, at + 1, at + 1)]


@given(at=st.integers(0, 18))
def test_a_deleted_row_is_named(at: int) -> None:
    rows = written(20)
    assert inspect([*rows[:at], *rows[at + 1 :]], rows[-1]) == [(Kind.MISSING, at + 1, at + 1)]


@given(first=st.integers(0, 17), count=st.integers(1, 5))
def test_deleted_rows_are_named_as_one_stretch(first: int, count: int) -> None:
    rows = written(25)
    left = [*rows[:first], *rows[first + count :]]
    assert inspect(left, rows[-1]) == [(Kind.MISSING, first + 1, first + count)]


@given(at=st.integers(0, 18))
def test_a_deleted_row_is_named_though_the_others_were_renumbered(at: int) -> None:
    rows = written(20)
    left = renumbered([*rows[:at], *rows[at + 1 :]])
    assert inspect(left) == [(Kind.MISSING, at + 1, at + 1)]
    assert (Kind.TRUNCATED, 20, 20) in inspect(left, rows[-1])


@given(at=places)
def test_a_forged_row_between_others_is_named(at: int) -> None:
    rows = written(20)
    forged = Row(0, rows[at - 1].hash if at else ORIGIN, "a" * 64)
    assert inspect(renumbered([*rows[:at], forged, *rows[at:]])) == [
        (Kind.INSERTED, at + 1, at + 1)
    ]


@given(at=places, of=places)
def test_a_copied_row_between_others_is_named(at: int, of: int) -> None:
    rows = written(20)
    found = inspect(renumbered([*rows[:at], rows[of], *rows[at:]]))
    # The copy of a neighbour cannot be told from the row itself, and is as true as it.
    assert found
    assert all(first in {at + 1, of + 1, of + 2} for _, first, _ in found)


def test_a_forged_row_at_the_end_is_named() -> None:
    rows = written(5)
    assert inspect([*rows, Row(6, rows[-1].hash, "a" * 64)], rows[-1]) == [(Kind.INSERTED, 6, 6)]


@given(first=places, second=places)
def test_two_swapped_rows_are_named(first: int, second: int) -> None:
    rows = written(20)
    found = inspect(swapped(rows, first, second))
    if first == second:
        assert found == []
        return
    assert sorted(found) == sorted((Kind.MOVED, place + 1, place + 1) for place in (first, second))


def test_swapped_neighbours_are_named() -> None:
    rows = written(6)
    assert sorted(inspect(swapped(rows, 2, 3))) == [(Kind.MOVED, 3, 3), (Kind.MOVED, 4, 4)]


@given(kept=st.integers(0, 19))
def test_a_truncated_chain_is_named(kept: int) -> None:
    rows = written(20)
    assert inspect(rows[:kept], rows[-1]) == [(Kind.TRUNCATED, kept + 1, 20)]
    assert inspect(rows[:kept]) == [], "nothing but the anchor tells"


def test_a_chain_that_went_on_after_it_was_truncated_is_named() -> None:
    rows = written(10)
    again = [*rows[:6], *[dataclasses.replace(row, operation="new") for row in rows[6:]]]
    last = Link(6, rows[5].hash)
    for place in range(6, 10):
        row = dataclasses.replace(again[place], prev=last.hash)
        again[place] = dataclasses.replace(row, hash=chain.hash_of(KEY, last.hash, row))
        last = Link(again[place].seq, again[place].hash)
    assert inspect(again, rows[8]) == [(Kind.REWRITTEN, 9, 9)]


def test_a_number_that_was_raised_is_no_gap() -> None:
    rows = written(3)
    assert inspect([*rows[:2], dataclasses.replace(rows[2], seq=7)]) == [(Kind.MOVED, 7, 7)]


@pytest.mark.parametrize("name", chain.SIGNED)
def test_every_column_is_signed(name: str) -> None:
    row = written(1)[0]
    other: dict[str, Any] = {
        "id": uuid.uuid4(),
        "tenant_id": uuid.uuid4(),
        "created_at": AT + datetime.timedelta(microseconds=1),
        "actor_type": ActorKind.USER,
        "action": Action.UPDATE,
        "outcome": Outcome.REFUSED,
    }
    changed = dataclasses.replace(row, **{name: other.get(name, "other")})
    assert inspect([changed], row) == [(Kind.EDITED, 1, 1)]


def test_what_is_signed_is_every_column_but_the_place() -> None:
    columns = set(AuditLog.__mapper__.column_attrs.keys())
    assert columns - set(chain.SIGNED) == {"seq", "prev", "hash"}


def test_a_fault_is_one_line() -> None:
    assert str(Fault("platform", Kind.EDITED, 7, 7)) == "platform 7 edited"
    assert str(Fault("platform", Kind.MISSING, 7, 9)) == "platform 7-9 missing"
