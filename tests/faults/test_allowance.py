"""What becomes of units of a limit when a worker is killed, and when Redis answers, but late."""

import os
import signal
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.breakers import Fleet, Hanging, fleet
from tests.relay import Relay
from tests.stack import until
from tests.upstream import respond

AT_ONCE = 2
LIMIT = 3
LATE_SECONDS = 0.08
"""More than the 60 ms in which an answer is waited for."""
DECIDED_SECONDS = 1.0
"""Ten times what a decision may take, which is measured on a machine that does other things."""
SILENT_SECONDS = 10
"""After so long Redis itself gives back what a node holds that says nothing any more."""


def rule(**fields: Any) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "name": "a limit",
        "scope": ["tenant"],
        "match": {},
        "meter": "requests",
        "limit": 5,
        "window": "day",
        "burst": None,
        "onOutage": "closed",
        "zone": [],
        **fields,
    }


def limit(nodes: Fleet, one: dict[str, Any]) -> None:
    """Publish a rule of the tenant, for counters that have always been there."""
    nodes.nodes[0].trust_counters()
    revision = nodes.nodes[0].publisher.publish({"limits": {nodes.tenant: {"rules": [one]}}})
    for node in nodes.nodes:
        node.wait_for(revision)


def status(nodes: Fleet) -> int:
    """Return the status of a call, 0 when its worker died."""
    try:
        return nodes.call().status_code
    except requests.RequestException:
        return 0


def hold(nodes: Fleet, pool: ThreadPoolExecutor) -> tuple[list[Future[int]], threading.Event]:
    """Make as many calls as may be under way at once; they end when the event is set."""
    nodes.upstream.reset(hanging := Hanging())
    held: list[Future[int]] = []

    def is_held() -> bool:
        wanted = len(nodes.upstream.received) + 1
        one = pool.submit(status, nodes)
        held.append(one)
        until(lambda: one.done() or len(nodes.upstream.received) == wanted, "under way, or refused")
        if one.done():
            held.remove(one)
        return len(held) == AT_ONCE

    until(is_held, "as many as may be under way", 15)
    return held, hanging.go


def test_what_a_killed_worker_held_at_once_comes_back() -> None:
    with fleet("node-a", workers=2) as nodes, ThreadPoolExecutor(8) as pool:
        limit(nodes, rule(meter="concurrency", limit=AT_ONCE, window=None))
        held, go = hold(nodes, pool)
        assert [status(nodes) for _ in range(4)] == [429] * 4
        killed = time.monotonic()
        for worker in nodes.nodes[0].workers():
            os.kill(worker, signal.SIGKILL)
        assert {one.result(10) for one in held} <= {0, 502}
        go.set()
        nodes.upstream.reset(respond(b"{}"))
        until(lambda: status(nodes) == 200, "a call under way again", SILENT_SECONDS)
        print("came back after", round(time.monotonic() - killed, 1), "s")  # noqa: T201

        # As many as before, and not one more.
        held, go = hold(nodes, pool)
        assert [status(nodes) for _ in range(4)] == [429] * 4
        go.set()
        assert [one.result(10) for one in held] == [200] * AT_ONCE


@pytest.mark.parametrize(
    ("mode", "late"), [("closed", {503}), ("open", {200}), ("local", {200, 429})]
)
def test_an_answer_of_redis_that_comes_late_is_none(mode: str, late: set[int]) -> None:
    with fleet("node-a") as nodes, Relay(nodes.redis.socket) as relay:
        slow_node(nodes, relay)
        limit(nodes, rule(onOutage=mode, limit=LIMIT))
        until(lambda: status(nodes) == 429, "Redis counts, and nothing is left", 20)
        relay.seconds = LATE_SECONDS
        # What the node knows by itself, that nothing is left, holds for a second.
        until(lambda: status(nodes) == (503 if mode == "closed" else 200), "its onOutage decides")
        answers = []
        for _ in range(12):
            began = time.monotonic()
            answers.append(status(nodes))
            assert time.monotonic() - began < DECIDED_SECONDS
        assert set(answers) <= late
        if mode == "local":
            assert 1 + answers.count(200) <= LIMIT
            until(lambda: status(nodes) == 429, "the node's own share is used up")
        relay.seconds = 0.0
        until(lambda: status(nodes) == 429, "Redis counts again")


def slow_node(nodes: Fleet, relay: Relay) -> None:
    """Put a node in the fleet's place whose Redis answers as the relay is told."""
    nodes.start("node-b", 1, YUMEN_REDIS_URL=relay.url)
    nodes.nodes.reverse()
    nodes.nodes.pop().stop()
