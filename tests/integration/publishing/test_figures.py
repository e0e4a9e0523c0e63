"""How far publishing and usage are behind, against rows and streams that a test has made late."""

import datetime
import json
from collections.abc import Iterator

import pytest
import redis

from control_plane.contract import keys
from control_plane.core import clock, mail, outbox, tenancy
from control_plane.core.database import Database
from control_plane.core.figures import bounded
from control_plane.core.plugins import JobContext
from control_plane.core.settings import Settings
from control_plane.publishing import figures as publishing
from control_plane.publishing.models import PublishingRevision, PublishingState
from control_plane.usage import figures as usage
from tests.servers import RedisServer


@pytest.fixture
def context(
    settings: Settings, database: Database, redis_server: RedisServer
) -> Iterator[JobContext]:
    with redis.Redis.from_url(redis_server.url) as client:
        yield JobContext(settings=settings, database=database, redis=client)


def report(context: JobContext, node: str, revision: int, ago: float = 0) -> None:
    """Let a node say which revision it holds."""
    seen_at = int((clock.now().timestamp() - ago) * 1000)
    status = {
        "node": node,
        "epoch": 1,
        "revision": revision,
        "refusals": [],
        "workers": [7],
        "seenAt": seen_at,
        "contract": 1,
    }
    context.redis.zadd(keys.NODES, {node: seen_at})
    context.redis.hset(keys.node(node), "status", json.dumps(status))


def test_a_node_that_lags_is_told_with_the_age_of_what_it_lacks(context: JobContext) -> None:
    now = clock.now()
    with tenancy.platform_context(), context.database.transaction() as session:
        session.add(PublishingState(id=1, epoch=1, revision=3))
        for number, age in ((1, 300), (2, 200), (3, 100)):
            made_at = now - datetime.timedelta(seconds=age)
            session.add(
                PublishingRevision(revision=number, epoch=1, created_at=made_at, reason="x")
            )
    report(context, "behind", 1, ago=40)
    report(context, "current", 3)
    report(context, "long-gone", 1, ago=7200)
    said = publishing.FIGURES.read(context)
    assert said.keys() == {family.name for family in publishing.FIGURES.families}
    assert said["yumen_node_config_behind_revisions"] == {("behind",): 2, ("current",): 0}
    lags = said["yumen_node_config_lag_seconds"]
    assert 200 <= lags[("behind",)] < 230
    assert lags[("current",)] == 0
    assert 40 <= said["yumen_node_silence_seconds"][("behind",)] < 70
    assert said["yumen_published_revision"] == {(): 3}
    assert said["yumen_published_to_redis"] == {(): 0}
    context.redis.set(keys.CONFIG_REVISION, "1-3")
    context.redis.xadd(keys.CONFIG_LOG, {"reload": "1"}, id="1-3")
    assert publishing.FIGURES.read(context)["yumen_published_to_redis"] == {(): 1}


def test_changes_and_mails_that_wait_are_told(context: JobContext) -> None:
    assert outbox.FIGURES.read(context)["yumen_outbox_age_seconds"] == {(): 0}
    old = clock.now() - datetime.timedelta(seconds=90)
    with tenancy.platform_context(), context.database.transaction() as session:
        for created_at in (old, clock.now()):
            session.add(outbox.OutboxEvent(name="x", payload={}, created_at=created_at))
        mail.queue(session, mail.Mail("somebody@example.test", "subject", "text"))
    said = outbox.FIGURES.read(context)
    assert said["yumen_outbox_events"] == {(): 2}
    assert 90 <= said["yumen_outbox_age_seconds"][()] < 120
    assert mail.FIGURES.read(context) == {"yumen_mails": {("queued",): 1, ("given_up",): 0}}


def test_usage_that_waits_in_redis_is_told(context: JobContext) -> None:
    nothing = usage.FIGURES.read(context)
    assert nothing["yumen_usage_stream_lag_seconds"] == {(): 0}
    seconds, _ = context.redis.time()
    for ago in (50, 10):
        context.redis.xadd(keys.USAGE, {"x": "1"}, id=f"{(seconds - ago) * 1000}-0")
    said = usage.FIGURES.read(context)
    assert said["yumen_usage_stream_entries"] == {(): 2}
    assert 50 <= said["yumen_usage_stream_lag_seconds"][()] < 80


def test_what_comes_after_the_last_value_is_told_together() -> None:
    values = {"a": 1.0, "b": 5.0, "c": 3.0, "d": 4.0}
    assert bounded(values, 4) == {("a",): 1, ("b",): 5, ("c",): 3, ("d",): 4}
    assert bounded(values, 2) == {("a",): 1, ("b",): 5, ("other",): 4}
