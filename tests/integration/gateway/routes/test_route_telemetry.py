"""What a node tells of calls on tenants' own routes, and of their upstreams' targets."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from control_plane.contract import keys
from control_plane.contract.telemetry import COUNTS, OUTCOMES, NodeServicesSchema
from tests.integration.gateway.conftest import Node, make_node
from tests.integration.gateway.routes.conftest import UPSTREAM, call, route, serve
from tests.stack import until
from tests.upstream import raw, respond

SERVICE = f"upstream:{UPSTREAM}"


@pytest.fixture
def node() -> Iterator[Node]:
    """A node that has counted nothing yet."""
    yield from make_node(workers=1)


def told(node: Node, name: str) -> Any:
    """Return what the node says under this name."""
    text = node.gateway.client.hget(keys.node("node-a"), name)
    return json.loads(text) if text else {}


def counts(node: Node, service: str) -> dict[str, int]:
    """Return what was counted of a service, without what is 0."""
    found = NodeServicesSchema().load(told(node, "services"))["services"].get(service)
    if not found:
        return {}
    numbers = zip(COUNTS, found["counts"], strict=True)
    return {name: number for name, number in numbers if number}


def outcomes(node: Node, service: str = SERVICE) -> dict[str, int]:
    return {name: count for name, count in counts(node, service).items() if name in OUTCOMES}


def upload(pieces: int, pause: float) -> Iterator[bytes]:
    """Yield a body piece by piece."""
    for _ in range(pieces):
        time.sleep(pause)
        yield b"piece"


def test_plain_calls_and_calls_of_models_are_counted_by_their_service(node: Node) -> None:
    serve(node, route())
    node.upstream.reset(respond())
    assert node.call().status_code == 200
    node.upstream.reset(respond(b"hello", kind="text/plain"))
    assert call(node, method="POST", data=b"12345").status_code == 200
    for status in ("404 Not Found", "500 Oops"):
        node.upstream.reset(respond(status=status, body=b"{}"))
        assert call(node).status_code == int(status[:3])
    # Nothing comes; then less than was promised.
    node.upstream.reset(raw(b""))
    assert call(node).status_code == 502
    node.upstream.reset(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell"))
    with contextlib.suppress(requests.RequestException):
        call(node)
    expected = dict.fromkeys(("ok", "client_error", "upstream_error", "unreachable", "broken"), 1)
    until(lambda: outcomes(node) == expected, f"counted {expected}", 8)
    found = counts(node, SERVICE)
    assert found["request_bytes"] == 5
    assert found["response_bytes"] == len("hello{}{}hell")
    assert "tokens_in" not in found
    assert outcomes(node, f"model:{node.model}") == {"ok": 1}


def test_an_answer_that_comes_too_late_is_a_timeout(node: Node) -> None:
    timeouts = {"connect": 1, "send": 1, "firstByte": 1, "betweenBytes": 1, "total": None}
    serve(node, route(timeouts=timeouts))
    node.upstream.reset(lambda connection, received: connection.recv(1) and None)
    assert call(node).status_code == 504
    until(lambda: outcomes(node) == {"timeout": 1}, "a timeout is counted", 8)

    # Its head comes at once when it has the request, which took longer than the whole call may.
    serve(node, route(timeouts={**timeouts, "total": 1}))
    node.upstream.reset(respond())
    assert call(node, method="POST", data=upload(5, 0.4)).status_code == 504
    until(lambda: outcomes(node) == {"timeout": 2}, "another one is counted", 8)


def test_a_target_is_told_of_with_what_is_wrong_with_it(node: Node) -> None:
    name = f"127.0.0.1:{node.upstream.port}"
    check = {
        "path": "/health",
        "interval": 1,
        "timeout": 1,
        "healthyAfter": 1,
        "unhealthyAfter": 1,
        "statuses": [],
    }
    node.upstream.reset(respond())
    serve(node, route(), healthCheck=check)
    well = {UPSTREAM: {name: {"healthy": True}}}
    until(lambda: told(node, "targets") == well, "it is well", 8)
    node.upstream.reset(respond(status="500 Oops", body=b"{}"))
    ill = {UPSTREAM: {name: {"healthy": False, "reason": "status 500"}}}
    until(lambda: told(node, "targets") == ill, "it is ill", 8)
    node.upstream.reset(respond())
    until(lambda: told(node, "targets") == well, "it is well again", 8)
