"""Bad input: a clear error in the right dialect, an id, no call upstream, no key in a log."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.gateway.conftest import HOST, Node, make_node
from tests.stack import until

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A node whose limits are small enough to be reached."""
    small = {
        "YUMEN_GATEWAY_BODY_LIMIT_MB": "1",
        "YUMEN_GATEWAY_CLIENT_HEADER_SECONDS": "1",
        "YUMEN_GATEWAY_CLIENT_BODY_SECONDS": "1",
    }
    yield from make_node(workers=1, environment=small)


def exchange(node: Node, data: bytes, seconds: float = 5) -> bytes:
    """Send raw bytes; return all that comes back until the gateway hangs up."""
    with socket.create_connection(("127.0.0.1", node.gateway.settings.gateway.port)) as client:
        client.settimeout(seconds)
        client.sendall(data)
        answer = b""
        while True:
            try:
                received = client.recv(65536)
            except TimeoutError:
                return answer
            except ConnectionResetError:
                return answer
            if not received:
                return answer
            answer += received


def head(node: Node, *lines: str, method: str = "POST", path: str = CHAT) -> bytes:
    start = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", f"Authorization: Bearer {node.key}"]
    return "\r\n".join([*start, *lines, "", ""]).encode()


def parsed(answer: bytes) -> tuple[int, dict[str, str], Any]:
    top, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = top.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(status.split()[1]), headers, json.loads(body)


def expect(answer: bytes, status: int, code: str) -> None:
    got, headers, body = parsed(answer)
    assert (got, body["error"]["code"]) == (status, code)
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"]
    assert "nginx/" not in answer.decode()


def test_content_length_with_transfer_encoding_is_400(node: Node) -> None:
    data = head(node, "Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n"
    expect(exchange(node, data), 400, "malformed_request")


@pytest.mark.parametrize(
    "line",
    ["Content-Length: x", "Content-Length: -1", "Content-Length: 1\r\nContent-Length: 2"],
)
def test_odd_content_length_is_400(node: Node, line: str) -> None:
    expect(exchange(node, head(node, line) + b"{}"), 400, "malformed_request")


def test_unknown_transfer_encoding_is_501(node: Node) -> None:
    expect(exchange(node, head(node, "Transfer-Encoding: xchunked")), 501, "not_implemented")


def test_chunk_that_is_none_is_400(node: Node) -> None:
    data = head(node, "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n"
    expect(exchange(node, data), 400, "malformed_request")


def test_body_over_the_limit_is_413_before_it_is_sent(node: Node) -> None:
    expect(exchange(node, head(node, "Content-Length: 1048577")), 413, "request_too_large")


def test_chunked_body_over_the_limit_is_413(node: Node) -> None:
    data = head(node, "Transfer-Encoding: chunked") + b"110000\r\n" + b"x" * 0x110000
    expect(exchange(node, data), 413, "request_too_large")


def test_body_of_the_limit_passes(node: Node) -> None:
    text = json.dumps({"model": "m", "messages": []})
    body = text[:-1] + ',"x":"' + "x" * (1_048_576 - len(text) - 7) + '"}'
    answer = node.gateway.call("POST", CHAT, HOST, key=node.key, data=body)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", CHAT, "POST"), ("DELETE", "/v1/models", "GET"), ("PUT", "/v1/embeddings", "POST")],
)
def test_wrong_method_is_405(node: Node, method: str, path: str, allow: str) -> None:
    answer = exchange(node, head(node, "Connection: close", method=method, path=path))
    expect(answer, 405, "method_not_allowed")
    assert parsed(answer)[1]["allow"] == allow


def test_trace_is_405(node: Node) -> None:
    data = head(node, "Connection: close", method="TRACE")
    expect(exchange(node, data), 405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/v1/../../etc/passwd", "/v1/%2e%2e/%2e%2e/etc/passwd"])
def test_path_above_the_root_is_400(node: Node, path: str) -> None:
    data = head(node, "Connection: close", method="GET", path=path)
    expect(exchange(node, data), 400, "malformed_request")


def test_path_that_climbs_inside_is_what_it_comes_to(node: Node) -> None:
    data = head(node, "Connection: close", method="GET", path="/v1/x/../models")
    assert parsed(exchange(node, data))[0] == 200
    data = head(node, "Connection: close", method="GET", path="/v1/../x")
    status, headers, body = parsed(exchange(node, data))
    assert (status, body["code"]) == (404, "route_not_found")
    assert headers["content-type"] == "application/problem+json"


def test_request_line_and_headers_that_are_too_long(node: Node) -> None:
    data = head(node, "Connection: close", method="GET", path="/v1/" + "x" * 70_000)
    got, _, _ = parsed(exchange(node, data))
    assert got == 414
    data = head(node, "Connection: close", "X-Big: " + "x" * 70_000)
    expect(exchange(node, data), 431, "headers_too_large")


def test_garbage_is_400_in_the_plain_dialect(node: Node) -> None:
    status, headers, body = parsed(exchange(node, b"\x16\x03\x01nonsense\r\n\r\n"))
    assert (status, body["code"]) == (400, "malformed_request")
    assert headers["content-type"] == "application/problem+json"


def test_elsewhere_errors_are_problems(node: Node) -> None:
    answer = node.gateway.call("GET", "/elsewhere", HOST, key=node.key)
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["code"]) == (404, "route_not_found")
    assert body["requestId"] == answer.headers["X-Request-Id"]


def test_slow_header_is_hung_up_on(node: Node) -> None:
    started = time.monotonic()
    assert exchange(node, f"POST {CHAT} HTTP/1.1\r\nHost: {HOST}\r\n".encode()) == b""
    assert time.monotonic() - started < 10


def test_slow_body_is_408(node: Node) -> None:
    data = head(node, "Content-Length: 100") + b'{"model":'
    answer = exchange(node, data)
    assert answer == b"" or parsed(answer)[0] == 408


def test_client_request_id_is_kept_when_it_is_well_formed(node: Node) -> None:
    answer = node.call(headers={"X-Request-Id": "my-id_1"})
    assert answer.headers["X-Request-Id"] == "my-id_1"
    for bad in ("x" * 129, "a b", 'a"b'):
        given = node.call(headers={"X-Request-Id": bad}).headers["X-Request-Id"]
        assert given != bad
        assert len(given) >= 16


def test_no_request_id_twice(node: Node) -> None:
    given = {node.call().headers["X-Request-Id"] for _ in range(20)}
    assert len(given) == 20


def test_key_in_the_url_is_refused_and_written_nowhere(node: Node) -> None:
    node.upstream.reset()
    for query in (f"?api_key={node.key}", f"?a=1&key={node.key}", f"?{node.key}"):
        answer = node.gateway.call("POST", CHAT + query, HOST, data="{}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "key_in_url")
    too_large = exchange(node, head(node, "Content-Length: 9999999", path=f"{CHAT}?{node.key}"))
    assert parsed(too_large)[0] == 400
    node.gateway.call("GET", f"/v1/{node.key}", HOST)
    node.gateway.call("GET", "/v1/models?secret=hunter2", HOST)
    node.call(headers={"x-api-key": node.key})
    assert len(node.upstream.received) == 1

    log = until(
        lambda: text if "[redacted]" in (text := node.gateway.access_log()) else None,
        "the access log is written",
    )
    until(lambda: "/v1/models" in node.gateway.access_log(), "the last line is written")
    log = node.gateway.access_log() + node.gateway.error_log()
    assert node.key not in log
    assert node.key.split("_")[-1] not in log
    assert "hunter2" not in log


def test_access_log_is_json_without_query(node: Node) -> None:
    answer = node.call(headers={"X-Request-Id": "log-line-1"})
    assert answer.status_code == 200
    lines = until(
        lambda: [x for x in node.gateway.access_log().splitlines() if "log-line-1" in x], "a line"
    )
    line = json.loads(lines[0])
    assert (line["path"], line["status"], line["host"]) == (CHAT, 200, HOST)


def test_error_paths_leave_nothing_behind(node: Node) -> None:
    before = node.gateway.workers()
    for _ in range(50):
        exchange(node, head(node, "Content-Length: x"))
        exchange(node, b"GET\r\n\r\n")
    assert node.gateway.workers() == before
    assert "[alert]" not in node.gateway.error_log()
    assert "[emerg]" not in node.gateway.error_log()
