"""What becomes of calls on tenants' own routes while a degradation rule is in force."""

import socket
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from control_plane.contract.journal import Outcome
from tests.breakers import answers_after
from tests.breakers import rule as breaker
from tests.degradations import HEADER, Degradations, answer, rule
from tests.integration.gateway.conftest import HOST, Node
from tests.integration.gateway.routes.conftest import (
    UPSTREAM,
    call,
    exchange,
    recorded,
    route,
    serve,
)
from tests.route_documents import upstream_document
from tests.upstream import Received, Upstream, respond

SERVICE = f"upstream:{UPSTREAM}"
SPARE = str(uuid.uuid4())


@pytest.fixture(scope="module")
def other() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@pytest.fixture
def degradations(node: Node, other: Upstream) -> Degradations:
    """No rules yet, a route of the tenant's, and a second upstream beside the route's."""
    other.reset(respond(b"spare", kind="text/plain"))
    serve(node, route())
    nothing: Any = {SERVICE: None}
    spare = upstream_document(other.port)
    node.gateway.publish(
        {"degradations": nothing, "breakers": nothing, "upstreams": {SPARE: spare}}
    )
    return Degradations(node)


def pausing(connection: socket.socket, _: Received) -> None:
    """Answer at once, but in parts."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")
    time.sleep(0.8)
    connection.sendall(b"2")


def is_too_slow(node: Node) -> bool:
    """Tell whether a call is given up."""
    try:
        return call(node).status_code == 504
    except requests.RequestException:
        return True  # in the middle of an answer there is no other way to say so


@pytest.mark.parametrize("short", ["firstByte", "betweenBytes", "total"])
def test_a_slow_service_gets_more_time(node: Node, degradations: Degradations, short: str) -> None:
    timeouts = {"connect": 1.0, "send": 1.0, "firstByte": 5.0, "betweenBytes": 5.0, "total": None}
    serve(node, route(timeouts=timeouts | {short: 0.3}))
    node.upstream.script = pausing if short == "betweenBytes" else answers_after(0.8)
    assert is_too_slow(node)
    degradations.begin(SERVICE, rule("timeout-increase", factor=20))
    answered = call(node)
    assert (answered.status_code, answered.headers[HEADER]) == (200, "ailing")
    degradations.begin(SERVICE, rule("timeout-increase", factor=1.5))
    assert is_too_slow(node)


def test_a_path_is_switched_off_and_what_is_below_it(
    node: Node, degradations: Degradations
) -> None:
    degradations.begin(SERVICE, rule("feature-disable", endpoint="/reports"))
    refused = call(node, "/reports/2024")
    assert (refused.status_code, refused.headers[HEADER]) == (503, "ailing")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["code"] == "feature_disabled"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert call(node, "/reports").status_code == 503
    passed = call(node, "/reportsx")
    assert (passed.status_code, HEADER in passed.headers) == (200, False)
    assert len(node.upstream.received) == 1


def test_events_and_sockets_are_switched_off(node: Node, degradations: Degradations) -> None:
    serve(node, route(webSocket={"enabled": True, "maxAge": None}))
    degradations.begin(SERVICE, rule("feature-disable", feature="stream"))
    assert call(node, headers={"Accept": "text/event-stream"}).status_code == 503
    head = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {node.key}\r\n"
    upgrade = "Connection: upgrade, close\r\nUpgrade: websocket\r\n"
    refused = exchange(node.gateway, (head + upgrade + "\r\n").encode())
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"feature_disabled" in refused
    assert node.upstream.received == []
    assert call(node).status_code == 200


def test_another_upstream_answers(node: Node, degradations: Degradations, other: Upstream) -> None:
    serve(node, route(path="/api", stripPrefix=True))
    degradations.begin(SERVICE, rule("fallback", upstream=SPARE))
    answered = call(node, "/api/x?y=1")
    assert (answered.text, answered.headers[HEADER]) == ("spare", "ailing")
    assert node.upstream.received == []
    (received,) = other.received
    assert received.line == "GET /x?y=1 HTTP/1.1"
    assert received.headers["host"] == f"127.0.0.1:{other.port}"
    assert recorded(node, answered)[0].outcome == Outcome.COMPLETE


def test_a_socket_goes_to_the_other_upstream(
    node: Node, degradations: Degradations, other: Upstream
) -> None:
    def switch(connection: socket.socket, _: Received) -> None:
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        connection.sendall(head + b"\r\nhello")
        raise ConnectionAbortedError

    other.script = switch
    serve(node, route(webSocket={"enabled": True, "maxAge": None}))
    degradations.begin(SERVICE, rule("fallback", upstream=SPARE))
    head = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {node.key}\r\n"
    upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n"
    answered = exchange(node.gateway, (head + upgrade + "\r\n").encode())
    assert answered.startswith(b"HTTP/1.1 101 ")
    assert f"{HEADER}: ailing\r\n".encode() in answered
    assert answered.endswith(b"hello")


@pytest.mark.parametrize(
    ("tenant", "is_called"), [(None, True), ("own", True), ("other", False), ("gone", False)]
)
def test_the_other_upstream_is_one_that_the_tenant_may_use(
    node: Node, degradations: Degradations, other: Upstream, tenant: str | None, *, is_called: bool
) -> None:
    owner = {"own": node.tenant, "other": str(uuid.uuid4())}.get(tenant or "")
    document: Any = upstream_document(other.port, tenant=owner)
    node.gateway.publish({"upstreams": {SPARE: None if tenant == "gone" else document}})
    degradations.begin(SERVICE, rule("fallback", upstream=SPARE))
    answered = call(node)
    assert answered.status_code == 200
    assert (answered.text == "spare", HEADER in answered.headers) == (is_called, is_called)


def test_a_model_is_no_fallback_of_a_route(node: Node, degradations: Degradations) -> None:
    degradations.begin(SERVICE, rule("fallback", model=node.model))
    answered = call(node)
    assert (answered.text, HEADER in answered.headers) == ("hello", False)


def test_a_fallback_has_no_fallback(
    node: Node, degradations: Degradations, other: Upstream
) -> None:
    degradations.begin(f"upstream:{SPARE}", rule("fallback", "back", upstream=UPSTREAM))
    degradations.begin(SERVICE, rule("fallback", upstream=SPARE))
    assert call(node).headers[HEADER] == "ailing"
    assert (len(other.received), node.upstream.received) == (1, [])


def test_the_fallbacks_breaker_counts_and_not_the_ailing_ones(
    node: Node, degradations: Degradations, other: Upstream
) -> None:
    degradations.begin(SERVICE, rule("fallback", upstream=SPARE))
    forced = {"breakers": [breaker(mode="forcedOpen")]}
    node.gateway.publish({"breakers": {SERVICE: forced}})
    assert call(node).status_code == 200
    node.gateway.publish({"breakers": {f"upstream:{SPARE}": forced}})
    refused = call(node)
    assert (refused.status_code, refused.json()["code"]) == (503, "circuit_open")
    assert refused.headers[HEADER] == "ailing"
    assert len(other.received) == 1
    nothing: Any = {f"upstream:{SPARE}": None}
    node.gateway.publish({"breakers": nothing})


def test_a_static_answer_is_sent_as_it_stands(node: Node, degradations: Degradations) -> None:
    degradations.begin(SERVICE, answer("<p>Back soon.</p>", 200, "text/html; charset=utf-8"))
    answered = call(node, method="POST", data=b"x")
    assert (answered.status_code, answered.text) == (200, "<p>Back soon.</p>")
    assert answered.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answered.headers[HEADER] == "ailing"
    head = call(node, method="HEAD")
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, "17", b"")
    degradations.begin(SERVICE, answer("", 204))
    empty = call(node)
    assert (empty.status_code, empty.content, empty.headers[HEADER]) == (204, b"", "ailing")
    assert node.upstream.received == []
