"""A counter that Redis lost gets what was used of it back, once, from the database."""

import time
import uuid
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from control_plane.contract import keys
from control_plane.core.database import Database
from control_plane.core.plugins import JobContext
from control_plane.core.root import project_root
from control_plane.core.settings import Settings
from control_plane.limits.seeding import Seeder
from control_plane.tenants import Tenant
from tests import usage_events
from tests.journal_writer import begin, end
from tests.servers import RedisServer

LOST, GRANTED, REFUSED = 3, 1, 0
LIMIT = 5


class Counter:
    """A counter of a limit of five requests a day, as a gateway node draws on it."""

    def __init__(self, server: RedisServer, name: str) -> None:
        self.client: Any = redis.Redis.from_url(server.url)
        self.run_id = self.client.info("server")["run_id"]
        path = project_root() / "openresty" / "lua" / "yumen" / "scripts" / "allowance.lua"
        self.script = path.read_text()
        # It is noon there: no midnight comes in between.
        self.zone = f"0:{43200 - self.client.time()[0] % 86400}"
        self.key = keys.ALLOWANCE_COUNTER + name

    def take(self) -> list[int]:
        """Ask for one; return status, what was granted and what is left."""
        own = (keys.ALLOWANCE_BORN, keys.ALLOWANCE_NODES, keys.ALLOWANCE_WANTED)
        rule = ("w", "day", self.zone, LIMIT, 0, 1, 1, 0, 0, 0, 0)
        answer = self.client.eval(
            self.script, 4, *own, self.key, "take", self.run_id, "node-a", keys.WAKE, *rule
        )
        return list(answer[1:4])

    def grow_old(self) -> None:
        """Let the counters have begun a little longer ago."""
        self.client.hincrby(keys.ALLOWANCE_BORN, "at", -3000)


@pytest.fixture
def rule(client: FlaskClient, operator: dict[str, str], tenant: Tenant) -> str:
    body = {"name": "x", "tenantId": str(tenant.id), "scope": ["tenant"], "limit": LIMIT}
    answer = client.post("/api/limits", json={**body, "window": "day"}, headers=operator)
    return str(answer.json["id"])


def test_a_lost_counter_is_told_what_was_used(
    settings: Settings, database: Database, redis_server: RedisServer, tenant: Tenant, rule: str
) -> None:
    now = time.time_ns() // 1000
    calls = [end(begin(n, tenant=tenant.id, started_us=now)) for n in (1, 2, 3)]
    usage_events.store(database, calls)
    counter = Counter(redis_server, f"{tenant.id}/{rule}/tenant:{tenant.id}")
    context = JobContext(settings=settings, database=database, redis=counter.client)
    seeder = Seeder()
    assert counter.take()[0] == LOST
    seeder.run(context)
    assert counter.take()[0] == LOST, "usage may still be on its way"
    counter.grow_old()
    assert counter.take()[0] == LOST
    waiting = counter.client.xadd(keys.USAGE, {"writer": "w"})
    seeder.run(context)
    assert counter.take()[0] == LOST, "what was sent before is taken in first"
    counter.client.xadd(keys.USAGE, {"writer": "w"})
    counter.client.xdel(keys.USAGE, waiting)
    seeder.run(context)
    assert counter.take() == [GRANTED, 1, LIMIT - 4]
    assert counter.take() == [GRANTED, 1, 0]
    assert counter.take()[0] == REFUSED
    assert not counter.client.exists(keys.ALLOWANCE_WANTED)
    # Whoever asks late changes nothing.
    counter.client.hset(keys.ALLOWANCE_WANTED, counter.key, "0:1")
    seeder.run(context)
    assert counter.take()[0] == REFUSED


def test_a_counter_of_no_rule_is_wanted_no_more(
    settings: Settings, database: Database, redis_server: RedisServer, tenant: Tenant
) -> None:
    counter = Counter(redis_server, f"{tenant.id}/{uuid.uuid4()}/tenant:{tenant.id}")
    context = JobContext(settings=settings, database=database, redis=counter.client)
    assert counter.take()[0] == LOST
    counter.grow_old()
    Seeder().run(context)
    assert not counter.client.exists(keys.ALLOWANCE_WANTED)
