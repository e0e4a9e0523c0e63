"""From a record to a row: exact cost, unknown tokens, and what no database could keep."""

import datetime
from decimal import Decimal
from typing import Any

import pytest

from control_plane.contract.journal import JournalError, Outcome, UsageSource
from control_plane.contract.usage_stream import START, Chunk, Position
from control_plane.usage.decoding import decode, event_row, rate
from tests.journal_writer import begin, end, frame

WRITER = "node-a-1-1"


def row(**fields: Any) -> dict[str, Any]:
    return event_row(WRITER, end(begin(1), **fields).pack())


@pytest.mark.parametrize(
    ("cost", "multiplier", "exact"),
    [
        ("0.015", "1.5", "0.0225"),
        ("0.1", "0.1", "0.01"),
        ("0", "1", "0"),
        ("1000000000", "1000000", "1000000000000000"),
        ("0.333333333333", "3", "0.999999999999"),
        ("0.000001", "0.000001", "0.000000000001"),
        ("0.0000015", "0.000001", "0.000000000002"),
        ("0.0000005", "0.000001", "0"),
    ],
)
def test_cost_is_the_exact_product(cost: str, multiplier: str, exact: str) -> None:
    assert rate(cost, multiplier) == Decimal(exact)


@pytest.mark.parametrize("text", ["", "-1", "1e3", "NaN", "1.", ".5", "0.1234567890123", "１"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(JournalError):
        rate(text, "1")


def test_a_cost_beyond_the_column_is_refused() -> None:
    with pytest.raises(JournalError, match="too large"):
        rate("9" * 20, "9" * 20)


@pytest.mark.parametrize("outcome", [Outcome.ABORTED, Outcome.FAILED])
def test_only_a_complete_call_costs(outcome: Outcome) -> None:
    assert row()["cost"] == Decimal("0.0225")
    assert row(outcome=outcome)["cost"] == 0


def test_unknown_tokens_are_null() -> None:
    assert row()["tokens_in"] == 7
    unknown = row(usage_source=UsageSource.UNKNOWN)
    tokens = ("tokens_in", "tokens_out", "tokens_cached", "tokens_reasoning")
    assert [unknown[name] for name in tokens] == [None] * 4


def test_the_day_is_the_utc_date_of_the_begin() -> None:
    midnight = 1_793_491_200_000_000
    assert row(started_us=midnight)["day"] == datetime.date(2026, 11, 1)
    assert row(started_us=midnight - 1)["day"] == datetime.date(2026, 10, 31)


@pytest.mark.parametrize(
    "fields",
    [
        {"seq": 0},
        {"seq": 2**63},
        {"started_us": 2**64 - 1},
        {"duration_us": 2**63},
        {"response_bytes": 2**64 - 1},
        {"outcome": Outcome.NONE},
        {"outcome": Outcome.ORPHAN},
        {"request_id": "a\0b"},
        {"cost_per_call": "free"},
        {"cost_multiplier": ""},
    ],
    ids=str,
)
def test_what_no_database_could_keep_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(JournalError):
        row(**fields)


def test_one_bad_record_costs_no_other() -> None:
    frames = [frame(begin(1)), frame(begin(2, cost_per_call="free")), frame(begin(3))]
    data = b"".join(frames)
    decoded = decode(Chunk(WRITER, START, Position(1, 256 + len(data)), data))
    assert sorted(decoded.begun) == [1, 3]
    (refused,) = decoded.refused
    assert refused.data == begin(2, cost_per_call="free").pack()


def test_bytes_that_are_no_frame_are_refused_and_kept() -> None:
    data = frame(begin(1)) + b"\xff" * 24
    decoded = decode(Chunk(WRITER, START, Position(1, 256 + len(data)), data))
    assert sorted(decoded.begun) == [1]
    assert [refused.data for refused in decoded.refused] == [b"\xff" * 24]


def test_damage_is_refused_as_it_was_reported() -> None:
    decoded = decode(Chunk(WRITER, START, Position(1, 264), b"\xff" * 8, "broken"))
    assert [(refused.detail, refused.data) for refused in decoded.refused] == [
        ("broken", b"\xff" * 8)
    ]
