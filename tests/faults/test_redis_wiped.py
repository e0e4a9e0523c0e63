"""Redis loses everything under traffic: every node keeps serving, the publisher restores it."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import requests

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


def test_a_day_that_redis_forgot_is_known_again(stack: Stack) -> None:
    """What was used of a limit a day comes back from the database, and not one call more passes."""
    tenant = stack.ready["demo"]["tenantId"]
    assert node(stack)["refusals"] == []
    limit = len(stack.usage_events()) + 20
    rule = {"tenantId": tenant, "name": "a day", "scope": ["tenant"], "limit": limit}
    stack.api("POST", "/api/limits", json={**rule, "window": "day", "onOutage": "closed"})
    until(lambda: is_counted(ask(stack)), "the limit is obeyed, by what was used before it")
    socket = stack.state / "s" / "redis" / "redis.sock"
    redis.Redis(unix_socket_path=str(socket)).flushall()
    until(lambda: ask(stack).status_code == 503, "what the node held is spent, the rest is lost")
    until(lambda: is_counted(ask(stack)), "what was used is known again")
    for _ in range(30):
        ask(stack)
    assert ask(stack).status_code == 429
    until(lambda: len(stack.usage_events()) >= limit, "all calls are metered")
    assert len(stack.usage_events()) == limit


def is_counted(answer: requests.Response) -> bool:
    """Tell whether a call passed because of what is left of the limit."""
    assert answer.status_code in {200, 503}, answer.text
    return answer.status_code == 200 and "RateLimit" in answer.headers


def ask(stack: Stack) -> requests.Response:
    """Make one call of the demo's model."""
    demo = stack.ready["demo"]
    headers = {"Host": demo["domain"], "Authorization": f"Bearer {demo['apiKey']}"}
    body = {"model": demo["model"], "messages": [{"role": "user", "content": "hi"}]}
    url = f"{stack.ready['gateway']}/v1/chat/completions"
    return requests.post(url, json=body, headers=headers, timeout=20)


def _has_configuration(connection: redis.Redis) -> bool:
    try:
        return connection.exists(keys.CONFIG_REVISION) == 1
    except redis.ConnectionError:
        return False
