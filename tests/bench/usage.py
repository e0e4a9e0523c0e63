"""How fast usage is taken in and summed up: `python -m tests.bench.usage [events] [summed]`.

Takes a journal through Redis into SQLite and PostgreSQL with one consumer and prints events a
second; then fills a month and prints how long the sums over it take. Fails below the floors.
"""

import datetime
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis
from sqlalchemy import insert

from control_plane.contract import keys
from control_plane.contract.usage_stream import CHUNK_BYTES, START, Chunk, Position
from control_plane.core import migrations
from control_plane.core.database import Database
from control_plane.core.settings import Settings, load_settings
from control_plane.core.tenancy import platform_context
from control_plane.tenants import Tenant
from control_plane.usage import partitions, service
from control_plane.usage.consumer import Consumer
from control_plane.usage.decoding import event_row
from control_plane.usage.models import Grouping, UsageEvent
from tests import factories, journal_writer
from tests.servers import PostgresServer, RedisServer

FLOOR_EVENTS_A_SECOND = 5000
FLOOR_SUM_SECONDS = 1.0
IN_FLIGHT = 50
FIRST_DAY = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
DAYS = 30
TRIES = 3


def main(arguments: list[str]) -> int:
    """Measure both databases; return 1 when one is too slow."""
    events, summed = (int(value) for value in (*arguments, 50_000, 1_000_000)[:2])
    slow = False
    with RedisServer() as redis_server, PostgresServer() as postgres_server:
        urls = {"SQLite": None, "PostgreSQL": postgres_server.url(postgres_server.create())}
        for name, url in urls.items():
            state = Path(tempfile.mkdtemp(prefix="ym"))
            environ = {"YUMEN_REDIS_URL": redis_server.url} | (
                {"YUMEN_DATABASE_URL": url} if url else {}
            )
            settings = load_settings(state=state, environ=environ)
            database = Database(settings)
            migrations.upgrade(database)
            slow |= _report_intake(name, settings, database, events)
            slow |= _report_sums(name, database, summed)
            database.close()
            shutil.rmtree(state)
    return 1 if slow else 0


def _report_intake(name: str, settings: Settings, database: Database, events: int) -> bool:
    with redis.Redis.from_url(settings.redis_url) as client:
        client.flushall()
        for chunk in _chunks(events):
            client.xadd(keys.USAGE, chunk.fields())
        consumer = Consumer(database, client, "bench")
        seconds = _timed(lambda: _drain(consumer, client))
    rate = events / seconds
    print(f"{name:10} intake {rate:8,.0f} events/s (two records each)")  # noqa: T201
    return rate < FLOOR_EVENTS_A_SECOND


def _drain(consumer: Consumer, client: redis.Redis) -> None:
    while client.xlen(keys.USAGE):
        consumer.step()


def _chunks(calls: int) -> Iterator[Chunk]:
    """Yield the journal of *calls* calls, some of them always under way."""
    data, start, at = b"", START, 256
    for number in range(1, calls + IN_FLIGHT + 1):
        records = b""
        if number <= calls:
            records += journal_writer.frame(journal_writer.begin(number))
        if number > IN_FLIGHT:
            begun = journal_writer.begin(number - IN_FLIGHT)
            records += journal_writer.frame(journal_writer.end(begun))
        if len(data) + len(records) > CHUNK_BYTES:
            at += len(data)
            yield Chunk("node-1-1", start, Position(1, at), data)
            data, start = b"", Position(1, at)
        data += records
    yield Chunk("node-1-1", start, Position(1, at + len(data)), data)


def _report_sums(name: str, database: Database, events: int) -> bool:
    tenant = factories.make_tenant(database)
    seconds = _timed(lambda: _fill(database, tenant, events))
    print(f"{name:10} filled a month with {events:,} events in {seconds:.0f} s")  # noqa: T201
    period = service.Period(FIRST_DAY, FIRST_DAY + datetime.timedelta(days=DAYS))
    slow = False
    for grouping in (None, *Grouping):
        with platform_context(), database.session(write=False) as session:
            taken = min(
                _timed(lambda g=grouping, s=session: service.sum_usage(s, tenant.id, period, g))
                for _ in range(TRIES)
            )
        print(f"{name:10} sum of the month by {grouping or 'nothing':8} {taken:.2f} s")  # noqa: T201
        slow |= taken > FLOOR_SUM_SECONDS
    return slow


def _fill(database: Database, tenant: Tenant, events: int) -> None:
    days = [FIRST_DAY.date() + datetime.timedelta(days=number) for number in range(DAYS)]
    partitions.Partitions(database).ensure(days)
    begun = journal_writer.begin(1, tenant=tenant.id)
    template = event_row("node-2-2", journal_writer.end(begun).pack())
    step = DAYS * 86_400_000_000 // events
    start = int(FIRST_DAY.timestamp()) * 1_000_000
    for first in range(0, events, 50_000):
        rows = []
        for seq in range(first + 1, min(first + 50_000, events) + 1):
            at = start + (seq - 1) * step
            day = FIRST_DAY.date() + datetime.timedelta(microseconds=at - start)
            rows.append({**template, "seq": seq, "started_us": at, "day": day})
        with platform_context(), database.transaction() as session:
            session.execute(insert(UsageEvent), rows)


def _timed(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
