"""The consumer with a real Redis on both databases: what goes wrong, and what then still holds."""

import datetime
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from sqlalchemy import func, select

from control_plane import identity
from control_plane.contract import keys
from control_plane.contract.journal import Outcome, Record
from control_plane.contract.usage_stream import (
    CONFIRMED_ENDED,
    CONFIRMED_RUN,
    START,
    Chunk,
    Position,
)
from control_plane.core import clock
from control_plane.core.database import Database
from control_plane.core.settings import Settings
from control_plane.core.tenancy import platform_context
from control_plane.usage import consumer as consuming
from control_plane.usage import ingest, run_consumer
from control_plane.usage.consumer import Consumer
from control_plane.usage.models import UsageEvent, UsagePending, UsageQuarantine
from tests import factories
from tests.journal_writer import STARTED_US, begin, end, frame
from tests.servers import RedisServer
from tests.stack import until

WRITER = "node-a-1795000000000000-1"


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as opened:
        yield opened


@pytest.fixture
def consumer(database: Database, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Consumer:
    monkeypatch.setattr(consuming, "_CLAIM_IDLE_MS", 0)
    monkeypatch.setattr(consuming, "_BLOCK_MS", 1)
    monkeypatch.setattr(consuming, "_CHECK_SECONDS", 0)
    return Consumer(database, client, "test")


def chunk(*records: Record, start: Position = START, writer: str = WRITER) -> Chunk:
    data = b"".join(map(frame, records))
    offset = max(start.offset, 256) + len(data)
    return Chunk(writer, start, Position(1, offset), data)


def last(after: Chunk) -> Chunk:
    return Chunk(after.writer, after.end, after.end, last=True)


def send(client: redis.Redis, *chunks: Chunk) -> None:
    for sent in chunks:
        client.xadd(keys.USAGE, sent.fields())


def drain(consumer: Consumer, client: redis.Redis) -> None:
    consumer.step()
    until(lambda: consumer.step() == 0 and client.xlen(keys.USAGE) == 0, "the stream to be empty")


def rows(database: Database, *columns: Any) -> list[tuple[Any, ...]]:
    with platform_context(), database.session(write=False) as session:
        return sorted(tuple(row) for row in session.execute(select(*columns)))


def confirmed(client: redis.Redis, writer: str = WRITER) -> str:
    value = client.hget(keys.USAGE_CONFIRMED, writer)
    return value.decode() if value else ""


def quarantined(database: Database) -> list[tuple[Any, ...]]:
    return rows(database, UsageQuarantine.writer, UsageQuarantine.reason)


def test_a_call_is_pending_until_its_end_comes(
    consumer: Consumer, client: redis.Redis, database: Database
) -> None:
    first = chunk(begin(1))
    send(client, first)
    drain(consumer, client)
    assert rows(database, UsagePending.seq) == [(1,)]
    assert rows(database, UsageEvent.seq) == []
    send(client, chunk(end(begin(1)), start=first.end))
    drain(consumer, client)
    assert rows(database, UsagePending.seq) == []
    assert rows(database, UsageEvent.seq, UsageEvent.outcome) == [(1, Outcome.COMPLETE)]


def test_a_key_shows_when_its_last_call_began(
    consumer: Consumer, client: redis.Redis, database: Database
) -> None:
    tenant = factories.make_tenant(database)
    with platform_context(), database.transaction() as session:
        key = identity.create_api_key(session, tenant.id, name="k").row.id

    def send_call(seq: int, seconds: int) -> datetime.datetime | None:
        started = STARTED_US + seconds * 1_000_000
        send(client, chunk(begin(seq, key=key, started_us=started), begin(seq + 1)))
        drain(consumer, client)
        ((last_used_at,),) = rows(database, identity.APIKey.last_used_at)
        return last_used_at

    first = datetime.datetime.fromtimestamp(STARTED_US / 1_000_000, datetime.UTC)
    assert send_call(1, 0) == first
    assert send_call(3, 59) == first
    assert send_call(5, 61) == first + datetime.timedelta(seconds=61)
    assert send_call(7, 10) == first + datetime.timedelta(seconds=61)
    before = clock.now()
    assert before <= (send_call(9, 10**9) or before) <= clock.now()  # a node's clock is ahead


def test_orphans_wait_for_every_byte_of_a_dead_writer(
    consumer: Consumer, client: redis.Redis, database: Database
) -> None:
    first = chunk(begin(1), begin(2))
    second = chunk(end(begin(1)), start=first.end)
    send(client, first, last(second))
    drain(consumer, client)
    assert rows(database, UsageEvent.seq) == []
    assert confirmed(client) == str(first.end)
    send(client, second)
    drain(consumer, client)
    assert rows(database, UsageEvent.seq, UsageEvent.outcome) == [
        (1, Outcome.COMPLETE),
        (2, Outcome.ORPHAN),
    ]
    assert confirmed(client) == CONFIRMED_ENDED
    assert quarantined(database) == []


def test_an_end_after_the_decision_is_parked(
    consumer: Consumer, client: redis.Redis, database: Database
) -> None:
    first = chunk(begin(1))
    late = chunk(end(begin(1)), start=first.end)
    send(client, first, last(first))
    drain(consumer, client)
    send(client, late, late)
    drain(consumer, client)
    assert rows(database, UsageEvent.seq, UsageEvent.outcome) == [(1, Outcome.ORPHAN)]
    assert quarantined(database) == [(WRITER, "late")]


def test_calls_without_any_record_are_reported(
    consumer: Consumer, client: redis.Redis, database: Database
) -> None:
    first = chunk(begin(1), end(begin(1)), begin(3), end(begin(3)))
    send(client, first, last(first))
    drain(consumer, client)
    assert rows(database, UsageEvent.seq) == [(1,), (3,)]
    assert quarantined(database) == [(WRITER, "missing")]
    assert confirmed(client) == CONFIRMED_ENDED


def test_damage_is_quarantined_and_does_not_hold_up(
    consumer: Consumer, client: redis.Redis, database: Database
) -> None:
    first = chunk(begin(1), end(begin(1)))
    hole = Chunk(WRITER, first.end, Position(1, first.end.offset + 8), b"\xff" * 8, "broken")
    second = chunk(begin(2), end(begin(2)), start=hole.end)
    send(client, first, hole, second, hole)
    drain(consumer, client)
    assert rows(database, UsageEvent.seq) == [(1,), (2,)]
    assert rows(database, UsageQuarantine.reason, UsageQuarantine.data) == [
        ("damaged", b"\xff" * 8)
    ]
    assert confirmed(client) == str(second.end)


def test_a_gap_that_had_arrived_before_is_no_loss(
    consumer: Consumer, client: redis.Redis, database: Database
) -> None:
    first = chunk(begin(1), end(begin(1)))
    send(client, first, Chunk(WRITER, START, first.end, damage="no segment before 2 is left"))
    drain(consumer, client)
    assert quarantined(database) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"what": "ever"},
        {"writer": WRITER, "from": "0:0", "to": "x", "data": ""},
        {"writer": "x" * 500, "from": "0:0", "to": "1:300", "data": ""},
        {"writer": WRITER, "from": "9:0", "to": "1:300", "data": ""},
        {"writer": b"\xff", "from": "0:0", "to": "1:300", "data": ""},
        {"writer": WRITER, "from": "0:0", "to": "1:300", "data": "", "damage": b"\xff\0"},
        {"writer": WRITER, "from": "0:0", "to": "1:" + "9" * 5000, "data": ""},
    ],
    ids=["foreign", "position", "long", "backwards", "bytes", "damage", "digits"],
)
def test_what_is_no_chunk_is_quarantined_and_nothing_else(
    consumer: Consumer, client: redis.Redis, database: Database, fields: Any
) -> None:
    client.xadd(keys.USAGE, fields)
    send(client, chunk(begin(1), end(begin(1))))
    drain(consumer, client)
    assert rows(database, UsageEvent.seq) == [(1,)]
    assert quarantined(database) == [("", "undecodable")]


def test_what_the_database_refuses_holds_up_nothing_and_goes_to_quarantine(
    consumer: Consumer, client: redis.Redis, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison, sound = "node-p-1-1", "node-s-1-1"
    store = ingest._store_ended

    def refuse(session: Any, row: Any, arrival: Any) -> None:
        if row.writer == poison and arrival.ended:
            raise ValueError("this one never fits")
        store(session, row, arrival)

    monkeypatch.setattr(ingest, "_store_ended", refuse)
    bad = chunk(begin(1), end(begin(1)), writer=poison)
    send(client, bad, chunk(begin(1), end(begin(1)), writer=sound))
    consumer.step()
    assert rows(database, UsageEvent.writer) == [(sound,)]
    assert client.xlen(keys.USAGE) == 1
    drain(consumer, client)
    assert quarantined(database) == [(poison, "refused")]
    assert rows(database, UsageQuarantine.data) == [(bad.data,)]
    assert confirmed(client, poison) == str(bad.end)


def test_what_a_dead_consumer_left_is_taken_over(
    consumer: Consumer, client: redis.Redis, database: Database
) -> None:
    consumer.step()
    send(client, chunk(begin(1), end(begin(1))))
    client.xreadgroup(keys.USAGE_GROUP, "dead", {keys.USAGE: ">"})
    drain(consumer, client)
    assert rows(database, UsageEvent.seq) == [(1,)]


def test_on_an_empty_redis_it_states_what_the_database_holds(
    consumer: Consumer, client: redis.Redis, database: Database
) -> None:
    first = chunk(begin(1), end(begin(1)))
    ended = chunk(begin(1), writer="node-b-1-1")
    send(client, first, ended, last(ended))
    drain(consumer, client)
    before = client.hgetall(keys.USAGE_CONFIRMED)
    assert before[CONFIRMED_RUN.encode()].decode() == client.info("server")["run_id"]
    assert before[b"node-b-1-1"].decode() == CONFIRMED_ENDED
    client.flushall()
    consumer.step()
    consumer.step()
    assert client.hgetall(keys.USAGE_CONFIRMED) == before
    send(client, chunk(begin(2), end(begin(2)), start=first.end))
    drain(consumer, client)
    assert len(rows(database, UsageEvent.seq)) == 3


def test_events_of_any_day_find_their_partition(
    consumer: Consumer, client: redis.Redis, database: Database
) -> None:
    days = [0, 1_700_000_000_000_000, 1_795_000_000_000_000, 250_000_000_000_000_000]
    records = [begin(seq, started_us=at) for seq, at in enumerate(days, start=1)]
    send(client, chunk(*records, *map(end, records)))
    drain(consumer, client)
    assert [str(day) for (day,) in rows(database, UsageEvent.day)] == [
        "1970-01-01",
        "2023-11-14",
        "2026-11-18",
        "9892-03-08",
    ]


def test_it_runs_beside_others_until_it_is_stopped(
    settings: Settings, client: redis.Redis, database: Database
) -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=run_consumer, args=(settings, stop)) for _ in range(2)]
    for thread in threads:
        thread.start()
    start = START
    for number in range(40):
        calls = [begin(number * 10 + seq) for seq in range(1, 11)]
        sent = chunk(*calls, *map(end, calls), start=start)
        send(client, sent, sent)
        start = sent.end
    until(lambda: confirmed(client) == str(start), "everything to be confirmed")
    stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert rows(database, func.count(UsageEvent.seq), func.sum(UsageEvent.seq)) == [
        (400, sum(range(1, 401)))
    ]
