"""Days of events: made ahead and on demand, and gone after their time, on both databases."""

import datetime

import pytest
import redis
from sqlalchemy import inspect, select

from control_plane.core import clock
from control_plane.core.database import Database
from control_plane.core.plugins import JobContext
from control_plane.core.settings import Settings
from control_plane.core.tenancy import platform_context
from control_plane.usage import ingest, partitions
from control_plane.usage.models import UsageEvent, UsageQuarantine, UsageWriter
from tests.integration.usage.test_consumer import chunk, last
from tests.journal_writer import begin, end


@pytest.fixture
def context(settings: Settings, database: Database) -> JobContext:
    return JobContext(settings, database, redis.Redis.from_url(settings.redis_url))


def microseconds(days_ago: float) -> int:
    moment = clock.now() - datetime.timedelta(days=days_ago)
    return int(moment.timestamp() * 1_000_000)


def store(database: Database, days_ago: float, writer: str) -> None:
    record = begin(1, started_us=microseconds(days_ago))
    sent = chunk(record, end(record), writer=writer)
    arrivals = ingest.collect([sent, last(sent)])
    partitions.Partitions(database).ensure([arrivals[writer].ended[1].row["day"]])
    with platform_context(), database.transaction() as session:
        ingest.take_in(session, arrivals)
        ingest.quarantine(session, [ingest.entry(writer, "here", "test", "why")])


def writers(database: Database) -> list[str]:
    with platform_context(), database.session(write=False) as session:
        return sorted(session.scalars(select(UsageEvent.writer)))


def days(database: Database) -> list[str]:
    tables = inspect(database.engine).get_table_names()
    return sorted(t.removeprefix("usage_events_") for t in tables if t.startswith("usage_events_"))


def test_the_next_days_are_there_before_their_calls(context: JobContext) -> None:
    partitions.create_ahead(context)
    partitions.create_ahead(context)
    today = clock.now().date()
    ahead = [f"{today + datetime.timedelta(days=number):%Y%m%d}" for number in range(4)]
    assert days(context.database) == ([] if context.database.is_sqlite else ahead)


def test_what_is_past_its_time_goes_whole(context: JobContext) -> None:
    kept = context.settings.usage.retention_days
    store(context.database, kept + 2, "node-a-1-1")
    store(context.database, kept - 2, "node-b-1-1")
    store(context.database, 0, "node-c-1-1")
    partitions.drop_old(context)
    assert writers(context.database) == ["node-b-1-1", "node-c-1-1"]
    if not context.database.is_sqlite:
        assert len(days(context.database)) == 2


def test_what_was_long_decided_is_forgotten(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(context.database, 0, "node-a-1-1")
    later = clock.now() + datetime.timedelta(days=context.settings.usage.retention_days + 1)
    monkeypatch.setattr(clock, "now", lambda: later)
    partitions.drop_old(context)
    with platform_context(), context.database.session(write=False) as session:
        assert session.scalars(select(UsageWriter)).all() == []
        assert session.scalars(select(UsageQuarantine)).all() == []


def test_a_partition_that_went_away_is_made_again(context: JobContext) -> None:
    known = partitions.Partitions(context.database)
    day = datetime.date(2020, 1, 1)
    known.ensure([day])
    partitions.drop_old(context)
    known.forget()
    known.ensure([day])
    assert days(context.database) == ([] if context.database.is_sqlite else ["20200101"])
