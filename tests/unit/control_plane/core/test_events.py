"""Events: in the outbox exactly when their change is committed, and the worker is told."""

import dataclasses
import datetime
import uuid
from decimal import Decimal
from typing import ClassVar

import pytest
import redis

from control_plane.contract import keys
from control_plane.core import auth, outbox
from control_plane.core.auth import Actor
from control_plane.core.database import Database
from control_plane.core.events import Event, emit
from control_plane.core.settings import Settings, load_settings
from tests.servers import RedisServer
from tests.stack import until


@dataclasses.dataclass(frozen=True, kw_only=True)
class Happened(Event):
    """Something happened."""

    name: ClassVar[str] = "test.happened"
    thing: uuid.UUID
    cost: Decimal
    at: datetime.datetime
    names: tuple[str, ...]


EVENT = Happened(
    thing=uuid.UUID(int=7),
    cost=Decimal("1.50"),
    at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    names=("a", "b"),
)


def names(database: Database) -> list[str]:
    with database.session(write=False) as session:
        return [row.name for row in outbox.pending(session, 10)]


def test_an_event_is_kept_with_its_payload_and_actor(database: Database) -> None:
    actor = Actor(uuid.UUID(int=9), None, frozenset())
    with auth.acting_as(actor), database.transaction() as session:
        emit(session, EVENT)
    with database.transaction() as session:
        (row,) = outbox.pending(session, 10)
        assert (row.name, row.actor_id) == ("test.happened", actor.user_id)
        assert row.payload == {
            "thing": "00000000-0000-0000-0000-000000000007",
            "cost": "1.50",
            "at": "2026-01-01T00:00:00+00:00",
            "names": ["a", "b"],
        }
        outbox.done(session, [row])
    assert names(database) == []


def test_an_event_of_a_change_that_failed_is_not_there(database: Database) -> None:
    def change() -> None:
        with database.transaction() as session:
            emit(session, EVENT)
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    assert names(database) == []


def test_the_worker_is_woken_after_the_commit_only(
    database: Database, redis_server: RedisServer
) -> None:
    with redis.Redis.from_url(redis_server.url) as client, client.pubsub() as channel:
        channel.subscribe(keys.WAKE)
        until(lambda: channel.get_message(timeout=0.05), "subscribed")
        with database.transaction() as session:
            emit(session, EVENT)
            with session.begin_nested():
                emit(session, EVENT)
            assert channel.get_message(timeout=0.05) is None
        message = until(lambda: channel.get_message(timeout=0.05), "the worker is woken", 5)
        assert message["data"] == b"outbox"
        with database.transaction() as session:
            outbox.pending(session, 1)
        with database.session() as session:
            emit(session, EVENT)
            session.flush()
            session.rollback()
            session.commit()
        assert channel.get_message(timeout=0.05) is None


def test_a_change_is_committed_although_redis_is_away(settings: Settings) -> None:
    environ = {
        "YUMEN_REDIS_URL": "unix:///nowhere/redis.sock",
        "YUMEN_DATABASE_URL": settings.database_url,
    }
    database = Database(load_settings(state=settings.state, environ=environ))
    with database.transaction() as session:
        emit(session, EVENT)
    assert names(database) == ["test.happened"]
    database.close()
