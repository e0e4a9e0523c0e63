"""What is in force when the database or Redis is away from the worker that decides it."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import text

from control_plane.contract import keys
from control_plane.core import tenancy
from control_plane.core.crypto import ensure_secrets
from control_plane.core.database import Database
from control_plane.core.ids import new_id
from control_plane.core.settings import Settings, load_settings
from control_plane.core.signals import Signals
from control_plane.resilience import run_evaluator
from control_plane.resilience.models import DegradationRule
from tests.nodes import TellingNode
from tests.servers import PostgresServer, RedisServer
from tests.stack import until

SERVICE = "upstream:11111111-2222-4333-8444-555555555555"


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def name(postgres_server: PostgresServer, empty_postgresql: str) -> Iterator[str]:
    """The name of a database of the test's own."""
    made = postgres_server.create(empty_postgresql)
    yield made
    postgres_server.drop(made)


@pytest.fixture
def settings(
    postgres_server: PostgresServer, own_redis: RedisServer, name: str, tmp_path: Path
) -> Settings:
    environ = {**postgres_server.environ(name), "YUMEN_REDIS_URL": own_redis.url}
    made = load_settings(state=tmp_path, environ=environ)
    ensure_secrets(made)
    return made


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = Database(settings)
    yield opened
    opened.close()


@pytest.fixture
def worker(settings: Settings) -> Iterator[None]:
    """A worker that decides, and a node that is well."""
    stop = threading.Event()

    def tell() -> None:
        with redis.Redis.from_url(settings.redis_url) as client:
            node = TellingNode(client)
            while not stop.wait(0.5):
                node.count(SERVICE, ok=5, bucket_1=5)
                with contextlib.suppress(redis.RedisError):
                    node.tell(0.5)

    threads = [
        threading.Thread(target=tell),
        threading.Thread(target=run_evaluator, args=(settings, stop)),
    ]
    for thread in threads:
        thread.start()
    yield
    stop.set()
    for thread in threads:
        thread.join()


def make_rule(database: Database) -> DegradationRule:
    """Make a rule that is in force as long as the node tells anything."""
    rule = DegradationRule(
        id=new_id(),
        tenant_id=None,
        name="always",
        service=SERVICE,
        condition="rate >= 0",
        clear_condition=None,
        for_seconds=0,
        clear_for_seconds=0,
        ttl_seconds=60,
        dry_run=False,
        enabled=True,
        action="timeout-increase",
        stored_parameters={"factor": 2},
    )
    with tenancy.platform_context(), database.transaction() as session:
        session.add(rule)
    return rule


def test_what_is_in_force_stays_when_database_and_redis_are_away(
    worker: None,
    database: Database,
    own_redis: RedisServer,
    postgres_server: PostgresServer,
    name: str,
) -> None:
    rule_id = str(make_rule(database).id)
    with redis.Redis.from_url(own_redis.url) as client:
        signals = Signals(client, "test")

        def is_in_force() -> bool:
            with contextlib.suppress(redis.RedisError):
                return rule_id in signals.read("degradation")
            return False

        until(is_in_force, "the rule is in force")
        postgres_server.refuse(name)
        signals.end("degradation", rule_id)
        until(is_in_force, "it is said again, without a database")
        own_redis.kill()
        own_redis.start()
        until(is_in_force, "it is said again, to a Redis that forgot it")
        postgres_server.refuse(name, refused=False)
        with tenancy.platform_context(), database.transaction() as session:
            session.execute(text("UPDATE degradation_rules SET enabled = false"))
        until(lambda: not is_in_force(), "it has ended")
        assert client.hgetall(keys.DEGRADATIONS) == {}
