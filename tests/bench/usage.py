"""How fast usage is taken in and summed up, on both databases.

Takes a journal through Redis into the database with one consumer; then fills a month and asks for
the sums over it.
"""

import datetime
import functools
import shutil
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
from control_plane.usage.periods import Period
from tests import factories, journal_writer
from tests.bench.report import Figure, console
from tests.servers import PostgresServer, RedisServer

EVENTS, SUMMED = 50_000, 1_000_000
LEAST_EVENTS_A_SECOND = 5000
MOST_SUM_SECONDS = 1.0
IN_FLIGHT = 50
FIRST_DAY = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
DAYS = 30
TRIES = 3


def bench(size: float) -> list[Figure]:
    """Measure both databases."""
    figures: list[Figure] = []
    with RedisServer() as redis_server, PostgresServer() as postgres_server:
        urls = {"SQLite": {}, "PostgreSQL": postgres_server.environ(postgres_server.create())}
        for name, url in urls.items():
            state = Path(tempfile.mkdtemp(prefix="ym"))
            environ = {"YUMEN_REDIS_URL": redis_server.url, **url}
            settings = load_settings(state=state, environ=environ)
            database = Database(settings)
            migrations.upgrade(database)
            figures.append(_intake(name, settings, database, round(EVENTS * size)))
            figures += _sums(name, database, round(SUMMED * size))
            database.close()
            shutil.rmtree(state)
    return figures


def _intake(name: str, settings: Settings, database: Database, events: int) -> Figure:
    with redis.Redis.from_url(settings.redis_url) as client:
        client.flushall()
        for chunk in _chunks(events):
            client.xadd(keys.USAGE, chunk.fields())
        consumer = Consumer(database, client, "bench")
        seconds = _timed(lambda: _drain(consumer, client))
    what = f"usage, {name}: taken in (two records an event)"
    return Figure(what, events / seconds, "events/s", least=LEAST_EVENTS_A_SECOND)


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


def _sums(name: str, database: Database, events: int) -> Iterator[Figure]:
    tenant = factories.make_tenant(database)
    seconds = _timed(lambda: _fill(database, tenant, events))
    console.print(f"{name}: filled a month with {events:,} events in {seconds:.0f} s")
    period = Period(FIRST_DAY, FIRST_DAY + datetime.timedelta(days=DAYS), "UTC")
    for grouping in (None, *Grouping):
        with platform_context(), database.session(write=False) as session:
            sums = functools.partial(service.sum_usage, session, tenant.id, period, grouping)
            taken = min(_timed(sums) for _ in range(TRIES))
        what = f"usage, {name}: a month summed by {grouping or 'nothing'}"
        yield Figure(what, taken, "s", most=MOST_SUM_SECONDS)


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
