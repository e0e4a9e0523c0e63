"""Limits on real nginx over time: days that end, callers that go away, several nodes."""

import json
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway import NginxServer
from tests.integration.gateway.conftest import HOST, Node
from tests.stack import until
from tests.upstream import respond

DAY = 86400


def rule(**fields: Any) -> dict[str, Any]:
    """Return a rule of three calls a day of a model."""
    return {
        "id": "maxCallsPerDay/x",
        "name": "maxCallsPerDay",
        "scope": ["tenant", "model"],
        "match": {},
        "meter": "requests",
        "limit": 3,
        "window": "day",
        "burst": None,
        "onOutage": "closed",
        "zone": [],
        **fields,
    }


def limit(node: Node, *rules: dict[str, Any]) -> None:
    node.gateway.trust_counters()
    node.gateway.publish({"limits": {node.tenant: {"rules": list(rules)}}})


def statuses(node: Node, count: int) -> list[int]:
    return [node.call().status_code for _ in range(count)]


def test_a_day_ends_at_midnight_of_the_tenants_zone(node: Node) -> None:
    now = node.gateway.client.time()[0]
    seconds_left = 6
    # In this zone it is some seconds before midnight.
    zone = [{"from": 0, "offset": (DAY - seconds_left - now) % DAY}]
    daily = rule(match={"model": node.model}, zone=zone)
    limit(node, daily)
    assert statuses(node, 5) == [200, 200, 200, 429, 429]
    refused = node.call()
    assert int(refused.headers["Retry-After"]) <= seconds_left
    assert "maxCallsPerDay" in refused.json()["error"]["message"]
    until(lambda: node.gateway.client.time()[0] >= now + seconds_left, "midnight", 10)
    until(lambda: node.call().status_code == 200, "the new day's first call", 10)
    assert statuses(node, 3) == [200, 200, 429]


def test_a_change_of_the_zone_by_summer_time_is_obeyed(node: Node) -> None:
    """The day that it is is that of the offset that holds now, not of the first one."""
    now = node.gateway.client.time()[0]
    noon = (DAY // 2 - now) % DAY
    zone = [{"from": 0, "offset": (noon + 3600) % DAY}, {"from": now - 60, "offset": noon}]
    limit(node, rule(zone=zone))
    left = int(node.call().headers["RateLimit"].rpartition("t=")[2])
    assert abs(left - DAY // 2) < 60


def test_a_caller_that_goes_away_is_at_no_place_any_more(node: Node) -> None:
    release = threading.Event()

    def slow(connection: Any, received: Any) -> None:
        release.wait(20)
        respond()(connection, received)

    node.upstream.reset(slow)
    limit(node, rule(meter="concurrency", window=None, limit=1, name="one at once"))
    body = json.dumps({"model": "m", "messages": []}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\n"
        f"Authorization: Bearer {node.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", node.gateway.settings.gateway.port)) as caller:
        caller.sendall(head.encode() + body)
        until(lambda: len(node.upstream.received) == 1, "a call is under way", 10)
        assert node.call().status_code == 429
    node.upstream.reset(respond())
    until(lambda: node.call().status_code == 200, "there is room again", 10)
    release.set()


@pytest.fixture
def second(node: Node) -> Iterator[NginxServer]:
    """Another gateway node on the same Redis, with the same secrets."""
    other = NginxServer(node.redis.url, environment={"YUMEN_GATEWAY_NODE": "node-b"})
    shutil.copytree(node.gateway.state / "secrets", other.state / "secrets", dirs_exist_ok=True)
    with other:
        other.start()
        publisher = node.gateway.publisher
        other.wait_for(f"{publisher.epoch}-{publisher.revision}")
        yield other


def test_two_nodes_never_pass_more_than_one_limit(node: Node, second: NginxServer) -> None:
    limit(node, rule(limit=40, scope=["key"], id=str(uuid.uuid4())))
    publisher = node.gateway.publisher
    second.wait_for(f"{publisher.epoch}-{publisher.revision}")
    passed: list[int] = []

    def ask(gateway: NginxServer, count: int) -> None:
        body = json.dumps({"model": "m", "messages": []})
        for _ in range(count):
            answer = gateway.call("POST", "/v1/chat/completions", HOST, key=node.key, data=body)
            assert answer.status_code in {200, 429}, answer.text
            passed.append(answer.status_code)

    callers = [
        threading.Thread(target=ask, args=(gateway, count))
        for gateway, count in ((node.gateway, 60), (node.gateway, 60), (second, 30))
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    # What the quiet node still holds comes back when it is idle, and is used to the last one.
    deadline = time.monotonic() + 15
    while passed.count(200) < 40 and time.monotonic() < deadline:
        ask(node.gateway, 1)
    ask(node.gateway, 5)
    ask(second, 5)
    assert passed.count(200) == 40
    assert len(node.upstream.received) == 40
