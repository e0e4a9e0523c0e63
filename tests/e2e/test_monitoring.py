"""What the API says of a whole installation in which something goes wrong."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import openai
import pytest

from tests.e2e.conftest import offer, openai_client
from tests.stack import Stack, children, until
from tests.upstream import Upstream, respond

CHAT: Any = {"model": "watched", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def upstream(stack: Stack) -> Iterator[Upstream]:
    """The model `watched`, with a breaker that opens when four of eight calls fail."""
    with Upstream() as made, openai_client(stack) as client:
        offer(stack, client, "watched", f"http://127.0.0.1:{made.port}/v1")
        breaker = {"serviceName": "watched", "minimumCalls": 8, "consecutiveFailures": None}
        stack.api("POST", "/api/circuit-breakers", json={**breaker, "resetTimeout": 2})
        yield made


def health(stack: Stack, name: str) -> dict[str, Any]:
    """Return what the API says of a service or a part."""
    found = stack.api("GET", "/api/monitor/services?pageSize=100")
    return dict(next((each for each in found if name in (each["id"], each["serviceName"])), {}))


def breaker(stack: Stack) -> dict[str, Any]:
    """Return what the API says of the breaker."""
    found = stack.api("GET", "/api/circuit-breakers")
    return dict(next(each for each in found if each["serviceName"] == "watched"))


def has_status(stack: Stack, name: str, status: str) -> Any:
    """Wait until the API says so; return what it says."""

    def look() -> dict[str, Any] | None:
        found = health(stack, name)
        return found if found.get("status") == status else None

    return until(look, f"{name} is {status}")


def fail(client: openai.OpenAI, calls: int) -> None:
    """Make calls that fail."""
    for _ in range(calls):
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(**CHAT)


def test_everything_does_well(stack: Stack) -> None:
    def all_do() -> bool:
        found = stack.api("GET", "/api/monitor/services?pageSize=100")
        kinds = {each["kind"] for each in found if each["status"] == "healthy"}
        return kinds >= {"gatewayNode", "shipper", "worker", "redis", "database", "model"}

    until(all_do, "everything is healthy")


def test_calls_that_fail_are_seen_and_then_the_breaker(
    stack: Stack, client: openai.OpenAI, upstream: Upstream
) -> None:
    upstream.reset()
    for _ in range(2):
        client.chat.completions.create(**CHAT)
    has_status(stack, "watched", "healthy")
    assert breaker(stack)["status"] == "closed"
    upstream.reset(respond(b"{}", "500 Internal Server Error"))
    fail(client, 2)
    found = has_status(stack, "watched", "degraded")
    assert found["reason"].startswith("Calls fail: ")
    assert 0 < found["metrics"]["errorRate"] < 100
    fail(client, 6)
    found = has_status(stack, "watched", "down")
    assert found["reason"].startswith("A circuit breaker is open: "), found
    shown = breaker(stack)
    assert shown["status"] in {"open", "half-open"}
    assert "calls failed in 30 s" in shown["reason"]
    assert shown["lastStateChange"] is not None
    upstream.reset()

    def closes() -> bool:
        with suppress(openai.APIStatusError):
            client.chat.completions.create(**CHAT)
        return bool(breaker(stack)["status"] == "closed")

    until(closes, "the breaker is closed")
    has_status(stack, "watched", "healthy")


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Stop processes for the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_what_stops_is_down_and_healthy_when_it_goes_on(stack: Stack) -> None:
    stack.reload()
    pids = stack.ready["pids"]
    (node,) = stack.api("GET", "/api/monitor/services?kind=gatewayNode")
    parts = {node["id"]: "Silent for ", f"shipper:{node['serviceName']}": "Silent for "}
    parts["worker"] = "No worker is heard."
    with stopped(*children(pids["nginx"]), pids["shipper"], pids["worker"]):
        for name, reason in parts.items():
            assert has_status(stack, name, "down")["reason"].startswith(reason)
    for name in parts:
        has_status(stack, name, "healthy")
