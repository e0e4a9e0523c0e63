"""However chunks arrive and consumers die, the database holds each call once, as a model says.

Two consumers with a real Redis and a real database; a consumer dies before its commit, or after it
and before it acknowledges. The controls break the consumer and must be found.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, inspect, select, text

from control_plane.contract import keys
from control_plane.contract.journal import Outcome, Record
from control_plane.contract.usage_stream import CONFIRMED_ENDED, START, Chunk, Position
from control_plane.core.database import Database
from control_plane.core.tenancy import platform_context
from control_plane.usage import consumer as consuming
from control_plane.usage import ingest
from control_plane.usage.consumer import Consumer, Entry
from control_plane.usage.models import UsageEvent, UsagePending, UsageQuarantine, UsageWriter
from tests import journal_writer
from tests.servers import RedisServer

Decided = dict[tuple[str, int], tuple[int, Decimal]]
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

DEATHS = (None, "before commit", "after commit")
TABLES = (UsageEvent, UsagePending, UsageQuarantine, UsageWriter)


class Mortal(Consumer):
    """A consumer that dies where it is told to."""

    death: str | None = None

    def _commit(self, entries: Sequence[Entry]) -> dict[str, str]:
        if self.death == "before commit":
            raise redis.ConnectionError(self.death)
        return super()._commit(entries)

    def _acknowledge(self, entries: Sequence[Entry], confirmed: dict[str, str]) -> None:
        if self.death == "after commit":
            raise redis.ConnectionError(self.death)
        super()._acknowledge(entries, confirmed)


@dataclass
class Journal:
    """One writer's records, cut into chunks in which they may arrive."""

    writer: str
    records: list[Record]
    chunks: list[Chunk]
    is_dead: bool

    def decided(self) -> Decided:
        """Return what the database must hold in the end."""
        ended = {record.seq: record for record in self.records if record.kind == 2}
        begun = {record.seq for record in self.records}
        orphans = begun - ended.keys() if self.is_dead else set()
        calls = {seq: (int(record.outcome), cost(record)) for seq, record in ended.items()}
        calls |= dict.fromkeys(orphans, (int(Outcome.ORPHAN), Decimal(0)))
        return {(self.writer, seq): call for seq, call in calls.items()}


def cost(record: Record) -> Decimal:
    """Return what a call costs, reckoned apart from the code under test."""
    if record.outcome is not Outcome.COMPLETE:
        return Decimal(0)
    return (Decimal(record.cost_per_call) * Decimal(record.cost_multiplier)).normalize()


@st.composite
def journals(draw: st.DrawFn) -> list[Journal]:
    """Some writers: calls that overlap, some without an end, cut anywhere, in one or two ways."""
    made = []
    for number in range(draw(st.integers(1, 3))):
        calls = draw(st.integers(1, 8))
        ends = draw(
            st.lists(st.sampled_from([None, *list(Outcome)[1:4]]), min_size=calls, max_size=calls)
        )
        records: list[Record] = []
        for seq, outcome in enumerate(ends, start=1):
            begun = journal_writer.begin(
                seq, cost_per_call=f"0.{seq}", cost_multiplier="1.000000001"
            )
            place = draw(st.integers(0, len(records)))
            records.insert(max(place, _last_begin(records)), begun)
            if outcome is not None:
                after = records.index(begun) + 1
                end = journal_writer.end(begun, outcome)
                records.insert(draw(st.integers(after, len(records))), end)
        is_dead = draw(st.booleans())
        writer = f"node-{number}-1795000000000000-{number + 1}"
        ways = [_cut(draw, writer, records, is_dead) for _ in range(draw(st.integers(1, 2)))]
        made.append(Journal(writer, records, list(itertools.chain(*ways)), is_dead))
    return made


def _last_begin(records: list[Record]) -> int:
    """Return where the next begin may stand: begins keep their order."""
    return max((at + 1 for at, record in enumerate(records) if record.kind == 1), default=0)


def _cut(draw: st.DrawFn, writer: str, records: list[Record], is_dead: bool) -> list[Chunk]:
    frames = [journal_writer.frame(record) for record in records]
    cuts = sorted(draw(st.sets(st.integers(1, len(frames)), max_size=5)) | {len(frames)})
    chunks, start = [], START
    for first, last in itertools.pairwise([0, *cuts]):
        end = Position(1, 256 + sum(map(len, frames[:last])))
        chunks.append(Chunk(writer, start, end, b"".join(frames[first:last])))
        start = end
    return [*chunks, Chunk(writer, start, start, last=True)] if is_dead else chunks


@dataclass
class Delivery:
    """What is delivered, and how the consumers die."""

    journals: list[Journal]
    chunks: list[Chunk]
    deaths: list[str | None]


@st.composite
def deliveries(draw: st.DrawFn) -> Delivery:
    """Journals, their chunks 1 to 5 times in any order, and how the consumers die."""
    made = draw(journals())
    chunks = [chunk for journal in made for chunk in journal.chunks]
    often = draw(st.lists(st.integers(1, 5), min_size=len(chunks), max_size=len(chunks)))
    repeated = [chunk for chunk, times in zip(chunks, often, strict=True) for _ in range(times)]
    order = draw(st.permutations(repeated))
    deaths = draw(st.lists(st.sampled_from(DEATHS), min_size=3, max_size=8))
    return Delivery(made, list(order), deaths)


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as opened:
        yield opened


@pytest.fixture
def deliver(
    database: Database, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Deliver chunks to two consumers and compare the database with the model."""
    monkeypatch.setattr(consuming, "_CLAIM_IDLE_MS", 0)
    monkeypatch.setattr(consuming, "_BLOCK_MS", 1)
    monkeypatch.setattr(consuming, "_COUNT", 3)
    monkeypatch.setattr(consuming, "_CHECK_SECONDS", 0)

    def run(delivery: Delivery, kind: type[Mortal]) -> None:
        client.flushall()
        with platform_context(), database.transaction() as session:
            for table in TABLES:
                session.execute(delete(table))
        for chunk in delivery.chunks:
            client.xadd(keys.USAGE, chunk.fields())
        _consume(kind, database, client, delivery.deaths)
        _compare(delivery.journals, database, client)

    return run


def _consume(
    kind: type[Mortal], database: Database, client: redis.Redis, deaths: list[str | None]
) -> None:
    """Let two consumers take turns, each replaced when it dies, until nothing is left."""
    pair: list[Mortal | None] = [None, None]
    remaining = iter(deaths)
    for turn in itertools.count():
        alive = pair[turn % 2] or kind(database, client, f"consumer-{turn}")
        alive.death = next(remaining, None)
        try:
            alive.step()
            pair[turn % 2] = alive
        except redis.ConnectionError:
            pair[turn % 2] = None
        if turn > len(deaths) and client.xlen(keys.USAGE) == 0:
            return
        assert turn < 1000


def _compare(made: list[Journal], database: Database, client: redis.Redis) -> None:
    expected: Decided = {}
    for journal in made:
        expected |= journal.decided()
    with platform_context(), database.session(write=False) as session:
        events = session.execute(
            select(UsageEvent.writer, UsageEvent.seq, UsageEvent.outcome, UsageEvent.cost)
        ).all()
        assert len(events) == len(expected)
        assert {(row.writer, row.seq): (row.outcome, row.cost) for row in events} == expected
        rows = session.execute(select(UsagePending.writer, UsagePending.seq))
        pending = {(row.writer, row.seq) for row in rows}
        calls = {(j.writer, r.seq) for j in made for r in j.records}
        assert pending == calls - expected.keys()
        assert session.scalars(select(UsageQuarantine)).all() == []
    confirmed = client.hgetall(keys.USAGE_CONFIRMED)
    for journal in made:
        reached = max(chunk.end for chunk in journal.chunks)
        value = CONFIRMED_ENDED if journal.is_dead else str(reached)
        assert confirmed[journal.writer.encode()].decode() == value


RUN = settings(
    max_examples=30,
    phases=[Phase.generate],
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


SEARCH = settings(RUN, max_examples=150)


def test_each_call_is_there_once(deliver: Callable[..., None]) -> None:
    RUN(given(deliveries())(deliver_to(deliver, Mortal)))()


class AcknowledgesFirst(Mortal):
    """Mutant: tells Redis that a batch is safe before it is."""

    def process(self, entries: Sequence[Entry]) -> None:
        super()._acknowledge(entries, {})
        super().process(entries)


def test_acknowledging_before_the_commit_is_found(deliver: Callable[..., None]) -> None:
    with pytest.raises(AssertionError):
        SEARCH(given(deliveries())(deliver_to(deliver, AcknowledgesFirst)))()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_missing_unique_key_is_found(
    deliver: Callable[..., None], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.transaction() as session:
        session.execute(text("CREATE TABLE bare AS SELECT * FROM usage_events"))
        session.execute(text("DROP TABLE usage_events"))
        session.execute(text("ALTER TABLE bare RENAME TO usage_events"))
    careful = ingest._insert

    def careless(session: Any, entity: Any, rows: Any) -> Any:
        if entity is not UsageEvent or not rows:
            return careful(session, entity, rows)
        session.execute(insert(UsageEvent.__table__), rows)
        columns = [column.name for column in inspect(UsageEvent).primary_key]
        return [tuple(row[name] for name in columns) for row in rows]

    monkeypatch.setattr(ingest, "_insert", careless)
    with pytest.raises(AssertionError):
        SEARCH(given(deliveries())(deliver_to(deliver, Mortal)))()


def deliver_to(deliver: Callable[..., None], kind: type[Mortal]) -> Callable[..., None]:
    def example(delivery: Delivery) -> None:
        deliver(delivery, kind)

    return example
