"""How services do, by snapshots of nodes in a real Redis."""

import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from control_plane.contract import keys
from control_plane.core import clock
from control_plane.monitoring import Reading, Readings
from tests.nodes import TellingNode
from tests.servers import RedisServer

SERVICE = "model:11111111-2222-4333-8444-555555555555"
BREAKER = "99999999-2222-4333-8444-555555555555"


class Time:
    """A clock that is turned by hand."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._start = clock.now()
        self._seconds = 0.0
        patch.setattr(clock, "now", lambda: self._start + datetime.timedelta(0, self._seconds))
        patch.setattr(clock, "monotonic", lambda: 1000 + self._seconds)

    def go_on(self, seconds: float) -> None:
        self._seconds += seconds


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as opened:
        opened.flushall()
        yield opened


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


@pytest.fixture
def node(client: redis.Redis, time: Time) -> TellingNode:
    return TellingNode(client)


def tell(time: Time, *nodes: TellingNode, seconds: float = 1.0) -> None:
    time.go_on(seconds)
    for node in nodes:
        node.tell(seconds)


def configure(client: redis.Redis, revision: str, *breakers: dict[str, Any]) -> None:
    """Publish breakers of the service."""
    text = json.dumps({"epoch": 1, "rev": 1, "doc": {"breakers": list(breakers)}})
    client.hset(keys.config_section("breakers"), SERVICE, text)
    client.set(keys.CONFIG_REVISION, revision)


def test_a_reading_is_what_happened_since_the_first(
    client: redis.Redis, time: Time, node: TellingNode
) -> None:
    readings = Readings(client)
    assert readings.read() == {}
    node.count(SERVICE, ok=1000, bucket_1=1000)
    tell(time, node)
    assert readings.read() == {SERVICE: Reading(0.0, 0.0, None, None, None, 0, "closed", 25.0, 1)}
    node.in_flight[SERVICE] = 3
    node.count(SERVICE, ok=4, timeout=1, client_error=1, aborted=3, refused=7)
    node.count(SERVICE, upstream_error=1, unreachable=1, bucket_7=10, bucket_9=1)
    tell(time, node, seconds=2)
    found = readings.read()[SERVICE]
    assert found == readings.read()[SERVICE], "read twice, the same"
    assert (found.rate, found.error_rate) == (5.5, 37.5), "11 calls in 2 s, 3 of 8 failed"
    assert (found.concurrency, found.node_load, found.nodes) == (3, 25.0, 1)
    assert (found.p50, found.p99) == (pytest.approx(77.5), pytest.approx(445.0, abs=30))


def test_what_is_longer_ago_is_forgotten(
    client: redis.Redis, time: Time, node: TellingNode
) -> None:
    readings = Readings(client)
    for failed in (5, 0, 0, 0):
        node.count(SERVICE, timeout=failed, bucket_1=failed)
        tell(time, node, seconds=4)
        found = readings.read()[SERVICE]
    assert found.rate == 0, "the first told where counting begins"
    node.count(SERVICE, timeout=5, ok=1)
    rates = []
    for _ in range(4):
        tell(time, node, seconds=4)
        rates.append(round(readings.read()[SERVICE].rate, 2))
    assert rates == [0.5, 0.5, 0.5, 0.0]


def test_nodes_are_added_up(client: redis.Redis, time: Time, node: TellingNode) -> None:
    other = TellingNode(client, "node-b")
    other.busy = 0.75
    readings = Readings(client)
    for _ in range(2):
        tell(time, node, other)
        found = readings.read()
        node.count(SERVICE, ok=6, bucket_4=6)
        other.count(SERVICE, broken=2, bucket_4=2)
        other.in_flight[SERVICE] = node.in_flight[SERVICE] = 2
    tell(time, node, other)
    found = readings.read()
    assert found[SERVICE] == Reading(
        8.0, 25.0, 7.5, pytest.approx(9.75), pytest.approx(9.95), 4, "closed", 75.0, 2
    )


def test_a_node_that_is_silent_is_gone_with_its_calls(
    client: redis.Redis, time: Time, node: TellingNode
) -> None:
    other = TellingNode(client, "node-b")
    readings = Readings(client)
    for _ in range(3):
        node.count(SERVICE, timeout=1)
        node.in_flight[SERVICE] = 4
        tell(time, node, other)
        readings.read()
    for _ in range(5):
        tell(time, other)
    assert readings.read()[SERVICE].nodes == 2
    tell(time, other)
    assert SERVICE not in readings.read()
    node.count(SERVICE, timeout=8)
    node.tell(6)
    found = readings.read()[SERVICE]
    assert (found.nodes, found.rate) == (2, pytest.approx(10 / 8)), "it was only slow to tell"
    time.go_on(60)
    assert readings.read() == {}
    node.count(SERVICE, timeout=999)
    node.tell(60)
    assert readings.read()[SERVICE].rate == 0, "what it did meanwhile is not of now"


def test_a_node_whose_clock_is_wrong_is_heard(
    client: redis.Redis, time: Time, node: TellingNode
) -> None:
    node.seen_at -= 600_000
    readings = Readings(client)
    node.count(SERVICE, ok=1)
    tell(time, node)
    assert readings.read() == {}, "it might have been silent for ten minutes"
    for _ in range(2):
        node.count(SERVICE, ok=1)
        tell(time, node)
        found = readings.read()
    assert (found[SERVICE].rate, found[SERVICE].nodes) == (1.0, 1)


def test_a_node_that_starts_anew_counts_from_nothing(
    client: redis.Redis, time: Time, node: TellingNode
) -> None:
    readings = Readings(client)
    node.count(SERVICE, ok=500)
    tell(time, node)
    readings.read()
    node.restart()
    node.count(SERVICE, ok=3)
    tell(time, node)
    assert readings.read()[SERVICE].rate == 3


def test_a_report_that_cannot_be_read_is_passed_over(
    client: redis.Redis, time: Time, node: TellingNode
) -> None:
    readings = Readings(client)
    other = TellingNode(client, "node-b")
    for unsound in (b"[", b"[]", b'{"boot":1}', b'{"services":{"x":{"counts":[1]}}}'):
        node.count(SERVICE, ok=1)
        tell(time, node, other)
        client.hset(keys.node("node-b"), "services", unsound)
        client.hset(keys.node("node-b"), "breakers", unsound)
        found = readings.read()
    assert (found[SERVICE].rate, found[SERVICE].nodes) == (1.0, 2)


def test_the_worst_of_its_breakers_is_told(
    client: redis.Redis, time: Time, node: TellingNode
) -> None:
    readings = Readings(client)
    configure(client, "1-1", {"id": BREAKER, "mode": "auto"}, {"id": "other", "mode": "auto"})
    node.breaker(BREAKER, "open")
    node.breaker("other", "halfOpen")
    tell(time, node)
    assert readings.read()[SERVICE].breaker == "open"
    trying = TellingNode(client, "node-b")
    trying.breaker(BREAKER, "halfOpen")
    tell(time, node, trying)
    assert readings.read()[SERVICE].breaker == "half-open", "one node tries for all"
    node.breakers.clear()
    trying.breakers.clear()
    tell(time, node, trying)
    assert SERVICE not in readings.read()


def test_the_mode_of_a_breaker_goes_before_its_state(
    client: redis.Redis, time: Time, node: TellingNode
) -> None:
    readings = Readings(client)
    configure(client, "1-1", {"id": BREAKER, "mode": "forcedOpen"})
    tell(time, node)
    assert readings.read()[SERVICE].breaker == "open", "nodes say nothing of such"
    configure(client, "1-2", {"id": BREAKER, "mode": "disabled"})
    node.breaker(BREAKER, "open")
    tell(time, node)
    assert SERVICE not in readings.read()


def test_without_redis_it_says_so(client: redis.Redis) -> None:
    with redis.Redis(port=1) as nowhere, pytest.raises(redis.RedisError):
        Readings(nowhere).read()
