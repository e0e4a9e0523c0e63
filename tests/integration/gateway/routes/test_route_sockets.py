"""WebSockets and answers without an end on tenants' own routes, and when they are ended."""

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from control_plane.contract.journal import Outcome
from tests.integration.gateway.conftest import HOST, Node
from tests.integration.gateway.routes.conftest import call, only, recorded, route, serve
from tests.stack import until
from tests.upstream import Received

ENABLED = {"enabled": True, "maxAge": None}
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"


def echo(connection: socket.socket, _: Received) -> None:
    """Become a socket that says back what it is told."""
    connection.sendall(SWITCH)
    while data := connection.recv(65536):
        connection.sendall(data)
    raise ConnectionAbortedError


class Socket:
    """A client's connection that asks to become a WebSocket."""

    def __init__(self, node: Node, upgrade: str = "websocket") -> None:
        self.request_id = f"socket-{uuid.uuid4()}"
        lines = [
            "GET /chat HTTP/1.1",
            f"Host: {HOST}",
            f"Authorization: Bearer {node.key}",
            f"X-Request-Id: {self.request_id}",
            "Connection: Upgrade",
            f"Upgrade: {upgrade}",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        port = node.gateway.settings.gateway.port
        self.connection = socket.create_connection(("127.0.0.1", port), 10)
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode())
        self.head = self.connection.recv(65536)

    def say(self, data: bytes) -> bytes:
        """Send *data*; return what comes back."""
        self.connection.sendall(data)
        return self.connection.recv(65536)

    def seconds_to_its_end(self) -> float:
        """Wait until the gateway has ended it."""
        started = time.monotonic()
        assert self.connection.recv(65536) == b""
        return time.monotonic() - started


@pytest.fixture
def chat(node: Node) -> Iterator[Callable[..., Socket]]:
    """Open sockets, and close them in the end."""
    node.upstream.reset(echo)
    opened: list[Socket] = []

    def connect(**options: Any) -> Socket:
        opened.append(Socket(node, **options))
        return opened[-1]

    yield connect
    for each in opened:
        each.connection.close()


def test_bytes_pass_both_ways(node: Node, chat: Callable[..., Socket]) -> None:
    serve(node, route("chat", webSocket=ENABLED))
    opened = chat()
    assert opened.head.startswith(b"HTTP/1.1 101 ")
    assert opened.say(b"\x81\x05hello") == b"\x81\x05hello"
    assert opened.say(b"x" * 1000) == b"x" * 1000
    headers = only(node).headers
    assert (headers["upgrade"], headers["connection"]) == ("websocket", "upgrade")
    assert headers["sec-websocket-key"] == "dGhlIHNhbXBsZSBub25jZQ=="
    assert "authorization" not in headers
    opened.connection.close()
    record = recorded(node, opened.request_id)[0]
    assert (record.status, record.outcome) == (101, Outcome.COMPLETE)
    assert record.request_bytes > 1007
    assert record.response_bytes > 1007


def test_socket_where_none_may_be(node: Node, chat: Callable[..., Socket]) -> None:
    serve(node, route())
    refused = chat()
    assert refused.head.startswith(b"HTTP/1.1 403 ")
    assert b"web_socket_not_allowed" in refused.head
    assert node.upstream.received == []


def test_answer_to_an_upgrade_that_was_not_passed_on_is_cut_off(
    node: Node, chat: Callable[..., Socket]
) -> None:
    serve(node, route())
    opened = chat(upgrade="h2c")
    assert "upgrade" not in only(node).headers
    if opened.head:
        assert opened.seconds_to_its_end() < 3


def test_socket_ends_at_its_age(node: Node, chat: Callable[..., Socket]) -> None:
    serve(node, route(webSocket={"enabled": True, "maxAge": 1.0}))
    young = chat()
    assert young.say(b"1") == b"1"
    assert young.seconds_to_its_end() < 5
    assert recorded(node, young.request_id)[0].status == 101


def test_socket_that_is_silent_ends(node: Node, chat: Callable[..., Socket]) -> None:
    times = {"connect": 5.0, "send": 5.0, "firstByte": 0.5, "betweenBytes": 0.5, "total": None}
    serve(node, route(webSocket=ENABLED, timeouts=times))
    assert chat().seconds_to_its_end() < 5


@pytest.fixture
def as_before(node: Node) -> Iterator[None]:
    """Give tenant and key back what a test took from them."""
    yield
    node.gateway.publish(
        {
            "tenants": {node.tenant: node.tenant_document()},
            "credentials": {node.key_id: node.gateway.documents["credentials"][node.key_id]},
        }
    )


CHANGES: list[Any] = [
    pytest.param(
        lambda node: {"tenants": {node.tenant: node.tenant_document("suspended")}}, id="suspended"
    ),
    pytest.param(
        lambda node: {"tenants": {node.tenant: node.tenant_document(expiresAt=1)}}, id="expired"
    ),
    pytest.param(lambda node: {"credentials": {node.key_id: None}}, id="revoked"),
]


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("change", CHANGES)
def test_socket_ends_when_nobody_may_call_any_more(
    node: Node, chat: Callable[..., Socket], change: Callable[[Node], Any]
) -> None:
    serve(node, route(webSocket=ENABLED))
    opened = chat()
    assert opened.say(b"1") == b"1"
    node.gateway.publish({"tenants": {node.tenant: node.tenant_document(models={})}})
    time.sleep(1.5)  # it was looked at, and goes on
    assert opened.say(b"2") == b"2"
    node.gateway.publish(change(node))
    assert opened.seconds_to_its_end() < 5


def endless(finish: threading.Event) -> Callable[[socket.socket, Received], None]:
    """Answer with a part each 50 ms until *finish* is set."""

    def script(connection: socket.socket, _: Received) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not finish.wait(0.05):
            connection.sendall(b"4\r\ntick\r\n")
        connection.sendall(b"0\r\n\r\n")

    return script


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("change", CHANGES)
def test_answer_without_an_end_is_cut_off(node: Node, change: Callable[[Node], Any]) -> None:
    serve(node, route())
    finish = threading.Event()
    node.upstream.reset(endless(finish))
    try:
        answer = call(node, stream=True)
        parts = answer.iter_content(4)
        assert next(parts) == b"tick"
        node.gateway.publisher.publish(change(node))
        with pytest.raises(requests.exceptions.RequestException):
            until(lambda: next(parts, None) is None, "it ends", 5)
    finally:
        finish.set()
    assert recorded(node, answer)[0].outcome == Outcome.ABORTED
