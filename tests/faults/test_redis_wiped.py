"""Redis loses everything under traffic: every node keeps serving, the publisher restores it."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from control_plane.contract import keys
from tests.faults.load import finish_load, start_load
from tests.stack import Stack, until

RATE = 100
SECONDS = 12


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack({"YUMEN_GATEWAY_WORKERS": "2"}) as running:
        yield running


def node(stack: Stack) -> dict[str, Any]:
    """Return what the only gateway node reports."""
    (found,) = stack.api("GET", "/api/gateway/nodes")
    return dict(found)


def test_nodes_serve_on_and_never_apply_an_empty_state(stack: Stack) -> None:
    load = start_load(stack, RATE, SECONDS, "wiped")
    before = node(stack)
    socket = stack.state / "s" / "redis" / "redis.sock"
    connection = redis.Redis(unix_socket_path=str(socket))
    for damage in ("flush", "kill"):
        connection.flushall()
        if damage == "kill":
            os.kill(stack.ready["pids"]["redis"], signal.SIGKILL)
        until(lambda: _has_configuration(connection), f"the publisher to restore after {damage}")
    answers = finish_load(load, SECONDS)
    assert answers["broken"] == []
    assert answers["refused"] == {}
    assert len(answers["complete"]) == RATE * SECONDS

    after = until(
        lambda: (n := node(stack))["applied"]["epoch"] > before["applied"]["epoch"] and n,
        "the node at the new epoch",
    )
    assert after["applied"]["revision"] >= before["applied"]["revision"]
    assert after["refusals"] == []

    def metered() -> bool:
        events = {event["requestId"] for event in stack.usage_events()}
        return set(answers["complete"]) <= events

    until(metered, "usage of every call, although Redis lost what was under way")


def _has_configuration(connection: redis.Redis) -> bool:
    try:
        return connection.exists(keys.CONFIG_REVISION) == 1
    except redis.ConnectionError:
        return False
