"""A route waits for the head of an answer and for its next part by two times of its own."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from control_plane.contract.journal import Outcome
from tests.integration.gateway.conftest import Node, make_node
from tests.integration.gateway.routes.conftest import call, recorded, route, serve
from tests.integration.gateway.routes.test_route_answers import TIMEOUTS, slow_answer
from tests.integration.gateway.routes.test_route_sockets import ENABLED, Socket, chat
from tests.upstream import Upstream, respond

__all__ = ["chat"]

SHORT, LONG = 0.5, 6.0
HEAD_FIRST = {**TIMEOUTS, "firstByte": SHORT, "betweenBytes": LONG}
PARTS_FIRST = {**TIMEOUTS, "firstByte": LONG, "betweenBytes": SHORT}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("is_kept", [False, True])
def test_head_that_is_late(node: Node, method: str, is_kept: bool) -> None:
    serve(node, route(timeouts=HEAD_FIRST))
    if is_kept:
        assert call(node).status_code == 200
    node.upstream.reset(slow_answer(LONG / 2))
    started = time.monotonic()
    answer = call(node, method=method, data=b"x")
    assert (answer.status_code, answer.json()["code"]) == (504, "upstream_timeout")
    assert SHORT * 0.9 < time.monotonic() - started < LONG / 2
    assert len(node.upstream.received) == 1
    record = recorded(node, answer)[0]
    assert (record.outcome, record.status, record.upstream_status) == (Outcome.FAILED, 504, 0)


def test_parts_may_be_further_apart_than_the_head(node: Node) -> None:
    serve(node, route(timeouts=HEAD_FIRST))
    node.upstream.reset(slow_answer(0, SHORT * 2))
    assert call(node).text == "ab"


def test_part_that_is_late(node: Node) -> None:
    serve(node, route(timeouts=PARTS_FIRST))
    node.upstream.reset(slow_answer(0, LONG / 2))
    started = time.monotonic()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        call(node, headers={"X-Request-Id": "late-part"})
    assert SHORT * 0.9 < time.monotonic() - started < LONG / 2
    assert recorded(node, "late-part")[0].outcome == Outcome.ABORTED


def test_head_may_take_longer_than_a_part(node: Node) -> None:
    serve(node, route(timeouts=PARTS_FIRST))
    node.upstream.reset(slow_answer(SHORT * 2, *[SHORT * 0.4] * 4))
    assert call(node).text == "abbbb"


def test_client_that_reads_slowly_is_waited_for(node: Node) -> None:
    serve(node, route(timeouts=PARTS_FIRST))
    body = b"x" * 20_000_000
    node.upstream.reset(respond(body))
    answer = call(node, stream=True)
    time.sleep(SHORT * 3)
    assert len(answer.content) == len(body)


def test_late_head_is_asked_of_another_target(node: Node) -> None:
    with Upstream(slow_answer(LONG / 2)) as silent:
        targets = [
            {"host": "127.0.0.1", "port": port, "weight": 1}
            for port in (silent.port, node.upstream.port)
        ]
        retries = {"attempts": 1, "statuses": "none"}
        serve(node, route(timeouts=HEAD_FIRST), targets=targets, retries=retries)
        assert [call(node).status_code for _ in range(2)] == [200, 200]
        assert len(silent.received) == 1
        posts = sorted(call(node, method="POST").status_code for _ in range(2))
        assert posts == [200, 504], "what may have acted is not"


def take_slowly(listener: socket.socket) -> None:
    """Answer one request, of which nothing is read for a while."""
    connection, _ = listener.accept()
    with connection:
        time.sleep(SHORT * 3)
        got = b""
        while not got.endswith(b"end") and (more := connection.recv(65536)):
            got += more
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nread")


@pytest.fixture
def large_node() -> Iterator[Node]:
    yield from make_node(workers=1)


def test_request_that_still_goes_out_waits_for_no_answer(large_node: Node) -> None:
    node = large_node
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # More than the kernel's buffers hold.
        body = b"x" * 8_000_000 + b"end"
        thread = threading.Thread(target=take_slowly, args=(listener,), daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        targets = [{"host": "127.0.0.1", "port": port, "weight": 1}]
        serve(node, route(timeouts=HEAD_FIRST), targets=targets)
        assert call(node, method="POST", data=body).text == "read"
        thread.join(10)


def test_silent_sockets_end_by_the_time_for_parts(node: Node, chat: Callable[..., Socket]) -> None:
    serve(node, route("chat", webSocket=ENABLED, timeouts=PARTS_FIRST))
    assert chat().seconds_to_its_end() < LONG / 2
    serve(node, route("chat", webSocket=ENABLED, timeouts=HEAD_FIRST))
    opened = chat()
    time.sleep(SHORT * 2)
    assert opened.say(b"1") == b"1"
