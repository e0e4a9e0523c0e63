"""Which degradation rules are in force, by what nodes tell in a real Redis."""

import datetime
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from control_plane.app import create_app
from control_plane.contract import keys
from control_plane.core import clock
from control_plane.core.database import Database
from control_plane.core.settings import Settings, load_settings
from control_plane.core.signals import Signals
from control_plane.resilience import conditions, run_evaluator, watching
from control_plane.resilience.evaluation import Evaluator
from control_plane.resilience.lifecycle import Pace
from control_plane.resilience.watching import Watched
from tests import factories
from tests.nodes import TellingNode
from tests.servers import RedisServer

SERVICE = "upstream:11111111-2222-4333-8444-555555555555"
RULE = "99999999-2222-4333-8444-555555555555"
URL = "/api/degradation-rules"


class World:
    """A node, a worker's evaluator, and seconds that go by as told."""

    def __init__(self, client: redis.Redis, patch: pytest.MonkeyPatch) -> None:
        self._start = clock.now()
        self._seconds = 0.0
        patch.setattr(clock, "now", lambda: self._start + datetime.timedelta(0, self._seconds))
        patch.setattr(clock, "monotonic", lambda: 1000 + self._seconds)
        self.client = client
        self.node = TellingNode(client)
        self.evaluator = Evaluator(client)
        self.rules: list[Watched] = [rule()]

    def go_on(self, seconds: int, *, tells: bool = True, calls: int = 10, failed: int = 0) -> None:
        """Let seconds pass, each with so many calls of the service."""
        for _ in range(seconds):
            self._seconds += 1
            if tells:
                self.node.count(SERVICE, ok=calls - failed, timeout=failed, bucket_3=calls)
                self.node.tell()
            self.evaluator.look(self.rules)

    def pause(self, seconds: float) -> None:
        """Let seconds pass in which the worker does not look."""
        self._seconds += seconds

    def take_over(self) -> None:
        """Let another worker go on."""
        self.evaluator = Evaluator(self.client)

    def signalled(self) -> list[str]:
        return list(Signals(self.client, "test").read("degradation"))

    def reported(self) -> dict[str, Any]:
        found: Any = self.client.hgetall(keys.DEGRADATIONS)
        return {rule_id.decode(): json.loads(text) for rule_id, text in found.items()}

    def events(self) -> list[tuple[str, str]]:
        entries: Any = self.client.xrange(keys.NODE_EVENTS)
        return [(event[b"id"].decode(), event[b"status"].decode()) for _, event in entries]


def rule(condition: str = "errorRate > 50", **fields: Any) -> Watched:
    clear = fields.pop("clear_condition", None)
    return Watched(
        **{
            "id": RULE,
            "version": 1,
            "name": "slow",
            "service": SERVICE,
            "condition": conditions.parse(condition),
            "clear_condition": None if clear is None else conditions.parse(clear),
            "pace": Pace(5, 8),
            "ttl_seconds": 60,
            "dry_run": False,
            **fields,
        }
    )


@pytest.fixture
def world(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        yield World(client, monkeypatch)


def test_a_rule_is_in_force_once_its_condition_has_lasted_and_ends_once_it_is_over(
    world: World,
) -> None:
    world.go_on(10)
    assert (world.signalled(), world.reported()) == ([], {})
    world.go_on(5 + 5, failed=9)  # the share of failures rises over the window of ten seconds
    assert world.signalled() == []
    world.go_on(5, failed=9)
    assert world.signalled() == [RULE]
    version, _, _, reason = world.reported()[RULE]
    assert (version, reason.startswith("errorRate = "), reason.endswith(" for 5 s")) == (
        1,
        True,
        True,
    )
    world.go_on(10 + 2)
    assert world.signalled() == [RULE], "it is over, but not for long"
    world.go_on(10)
    assert (world.signalled(), world.reported()) == ([], {})
    assert world.events() == [(RULE, "active"), (RULE, "ended")]


def test_what_diverts_all_calls_ends_by_itself(world: World) -> None:
    world.go_on(25, failed=10)
    assert world.signalled() == [RULE]
    world.go_on(10 + 8 + 2, calls=0)
    assert world.signalled() == []


def test_between_its_two_conditions_a_rule_stays_what_it_is(world: World) -> None:
    world.rules = [rule(clear_condition="errorRate < 10")]
    world.go_on(25, failed=3)
    assert world.signalled() == []
    world.go_on(25, failed=8)
    assert world.signalled() == [RULE]
    world.go_on(40, failed=3)
    assert world.signalled() == [RULE]
    world.go_on(25)
    assert world.signalled() == []


def test_a_signal_is_renewed_before_it_ends_and_not_each_second(world: World) -> None:
    world.rules = [rule("rate > 1", ttl_seconds=600)]
    world.go_on(12)
    signals = Signals(world.client, "test")
    before = signals.read("degradation")[RULE].generation
    world.go_on(5)
    # Redis' own clock has hardly moved meanwhile.
    assert signals.read("degradation")[RULE].generation == before
    short = signals.publish("degradation", RULE, {}, 470)
    assert short is not None
    world.go_on(1)
    until = signals.read("degradation")[RULE].until
    assert until == world.reported()[RULE][2] > short.until


def test_what_is_no_rule_any_more_ends_at_once(world: World) -> None:
    for changed in ([], [rule("rate > 1", version=2)], [rule("rate > 1", dry_run=True, version=2)]):
        world.rules = [rule("rate > 1")]
        world.go_on(12)
        assert world.signalled() == [RULE]
        world.rules = changed
        world.go_on(1)
        assert (world.signalled(), world.reported()) == ([], {}), changed


def test_a_rule_that_becomes_a_dry_run_is_not_obeyed_any_more(world: World) -> None:
    at_once = Pace(0, 0)
    world.rules = [rule("rate > 1", pace=at_once)]
    world.go_on(12)
    world.rules = [rule("rate > 1", pace=at_once, dry_run=True, version=2)]
    world.go_on(1)
    assert (world.signalled(), world.reported()[RULE][0]) == ([], 2)


def test_a_dry_run_is_reported_and_never_signalled(world: World) -> None:
    world.rules = [rule("rate > 1", dry_run=True)]
    world.go_on(12)
    assert (world.signalled(), list(world.reported())) == ([], [RULE])
    world.go_on(25, calls=0)
    assert world.reported() == {}
    assert world.client.xlen(keys.SIGNALS) == 0


@pytest.mark.parametrize("dry_run", [False, True])
def test_another_worker_goes_on_where_one_stopped(world: World, dry_run: bool) -> None:
    world.rules = [rule("rate > 1", dry_run=dry_run, pace=Pace(5, 0))]
    world.go_on(12)
    before = world.reported()
    assert list(before) == [RULE]
    world.pause(20)
    world.take_over()
    world.go_on(12)
    assert world.reported()[RULE][:2] == before[RULE][:2], "since when it is in force"
    assert world.events() == [(RULE, "active")]


def test_what_is_pending_begins_again_when_nobody_looked(world: World) -> None:
    world.rules = [rule("rate > 1", pace=Pace(20, 20))]
    world.go_on(3 + 18)
    world.pause(6)
    world.go_on(3 + 19)
    assert world.signalled() == []
    world.go_on(2)
    assert world.signalled() == [RULE]


def test_without_nodes_nothing_begins_and_nothing_is_confirmed(world: World) -> None:
    world.go_on(12)
    world.rules.append(rule("errorRate < 1", id="other"))
    world.node.busy = 1.0
    world.client.delete(keys.NODES)
    world.take_over()
    world.go_on(12, tells=False)
    assert world.signalled() == []
    world.rules = [rule("rate > 1")]
    world.go_on(20)
    assert world.signalled() == [RULE]
    world.go_on(30, tells=False)
    assert world.signalled() == [RULE], "its time is not over"
    Signals(world.client, "test").end("degradation", RULE)  # as if it were
    world.go_on(1, tells=False)
    assert (world.signalled(), world.reported()) == ([], {})
    assert world.events()[-1] == (RULE, "ended")


def test_two_workers_at_once_do_no_harm(world: World) -> None:
    world.rules = [rule("rate > 1")]
    world.go_on(12)
    other = Evaluator(world.client)
    for _ in range(6):
        world.go_on(1)
        other.look(world.rules)
        assert world.signalled() == [RULE]
    assert world.events() == [(RULE, "active")]


def test_what_redis_lost_is_told_again(world: World) -> None:
    world.rules = [rule("rate > 1")]
    world.go_on(12)
    world.client.flushall()
    world.go_on(1)
    assert (world.signalled(), list(world.reported())) == ([RULE], [RULE])


def test_every_metric_is_what_the_nodes_tell(world: World) -> None:
    breaker = "88888888-2222-4333-8444-555555555555"
    text = {"epoch": 1, "rev": 1, "doc": {"breakers": [{"id": breaker, "mode": "auto"}]}}
    world.client.hset(keys.config_section("breakers"), SERVICE, json.dumps(text))
    world.client.set(keys.CONFIG_REVISION, "1-1")
    world.node.breaker(breaker, "open")
    world.node.in_flight[SERVICE] = 7
    world.node.busy = 0.5
    everything = (
        'errorRate == 50 && rate > 9 && rate < 11 && concurrency == 7 && breaker == "open" '
        "&& nodeLoad == 50 && p50 > 2 && p50 < 5 && p95 > p50 && p99 > p95"
    )
    world.rules = [rule(everything, pace=Pace(0, 0)), rule("p95 > 0", id="idle", service="model:x")]
    world.go_on(14, failed=5)
    assert world.signalled() == [RULE]
    assert world.reported()[RULE][3].startswith("errorRate = 50, p50 = ")


ALWAYS = {
    "name": "always",
    "serviceName": "shop",
    "condition": "errorRate < 1",
    "forSeconds": 0,
    "action": "timeout-increase",
    "parameters": {"factor": 2},
}


def make_rule(client: FlaskClient, headers: dict[str, str]) -> tuple[str, str]:
    """Make a rule that is always in force; return the key of its service, and its URL."""
    upstream = {
        "name": "shop",
        "serverName": "shop.example.com",
        "targets": [{"host": "93.184.216.34", "port": 443}],
    }
    service = client.post("/api/upstreams", json=upstream, headers=headers)
    made = client.post(URL, json=ALWAYS, headers=headers)
    assert made.status_code == 201, made.text
    return f"upstream:{service.json['id']}", made.headers["Location"]


def test_the_worker_looks_and_the_api_tells(
    client: FlaskClient, operator: dict[str, str], settings: Settings, database: Database
) -> None:
    key, url = make_rule(client, operator)
    off = client.post(URL, json={**ALWAYS, "name": "off", "enabled": False}, headers=operator)
    rule_id = url.rpartition("/")[2]
    assert [each.id for each in watching.load(database)] == [rule_id]
    stop = threading.Event()
    thread = threading.Thread(target=run_evaluator, args=(settings, stop))
    with redis.Redis.from_url(settings.redis_url) as redis_client:
        node = TellingNode(redis_client)
        thread.start()
        try:
            for _ in range(60):
                node.count(key, ok=1, bucket_1=1)
                node.tell()
                stop.wait(0.5)
                if client.get(url, headers=operator).json["active"]:
                    break
            shown = client.get(url, headers=operator).json
            assert (shown["active"], shown["reason"]) == (True, "errorRate = 0")
            since = datetime.datetime.fromisoformat(shown["since"])
            assert abs((clock.now() - since).total_seconds()) < 60
            assert {
                each["name"]: each["active"] for each in client.get(URL, headers=operator).json
            } == {
                "always": True,
                "off": False,
            }
            assert list(Signals(redis_client, "test").read("degradation")) == [rule_id]
            headers = {**operator, **factories.ANY}
            changed = client.patch(url, json={"enabled": False}, headers=headers)
            assert (changed.json["active"], off.json["active"]) == (False, False)
            for _ in range(60):
                if not Signals(redis_client, "test").read("degradation"):
                    break
                stop.wait(0.5)
            assert Signals(redis_client, "test").read("degradation") == {}
        finally:
            stop.set()
            thread.join()


def test_without_redis_nobody_knows(
    client: FlaskClient, operator: dict[str, str], settings: Settings
) -> None:
    make_rule(client, operator)
    lonely = load_settings(
        state=settings.state,
        environ={
            "YUMEN_REDIS_URL": "redis://127.0.0.1:1/0",
            "YUMEN_DATABASE_URL": settings.database_url,
        },
    )
    app = create_app(lonely)
    (shown,) = app.test_client().get(URL, headers=operator).json
    app.extensions["yumen_database"].close()
    told = "Redis, where it is told, cannot be reached."
    assert (shown["active"], shown["since"], shown["reason"]) == (None, None, told)
