"""Open streams end when their tenant or key may no longer call, and only then."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from control_plane.contract.journal import HEADER_BYTES, Outcome, Record, read_frames, read_record
from control_plane.core.clock import now
from tests.integration.gateway.conftest import HOST, OTHER_HOST, Node, make_node
from tests.stack import until
from tests.upstream import CHUNK, DONE, Received

PAUSE = 0.05


class SlowStream:
    """An upstream's script: an event each 50 ms, in two pieces, until whoever reads it leaves."""

    def __init__(self, head: bytes = b"Content-Type: text/event-stream\r\n") -> None:
        self.head = head
        self.finish = threading.Event()
        self.left = 0

    def __call__(self, connection: socket.socket, _: Received) -> None:
        head = b"HTTP/1.1 200 OK\r\n" + self.head + b"Connection: close\r\n\r\n"
        connection.sendall(head + CHUNK[:20])
        try:
            while not self.finish.wait(PAUSE):
                connection.sendall(CHUNK[20:] + CHUNK[:20])
        except OSError:
            self.left += 1
            raise
        connection.sendall(CHUNK[20:] + DONE)
        raise ConnectionAbortedError


class OpenStream:
    """A client that reads a stream until it ends, however it does."""

    def __init__(
        self, node: Node, host: str = HOST, key: str | None = None, *, wants_usage: bool = False
    ) -> None:
        options = {"include_usage": wants_usage}
        body = {"model": "m", "messages": [], "stream": True, "stream_options": options}
        self.answer = requests.post(
            f"{node.gateway.url}/v1/chat/completions",
            json=body,
            headers={"Host": host, "Authorization": f"Bearer {key or node.key}"},
            stream=True,
            timeout=20,
        )
        assert self.answer.status_code == 200, self.answer.text
        self.lines: list[bytes] = []
        self.ended_at = 0.0
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        until(lambda: self.lines, "the stream has begun", 10)

    def _read(self) -> None:
        with contextlib.suppress(requests.exceptions.RequestException):  # it was cut off
            for line in self.answer.iter_lines(chunk_size=1):
                if line:
                    self.lines.append(line)
        self.ended_at = time.monotonic()

    @property
    def goes_on(self) -> bool:
        """Whether events come."""
        before = len(self.lines)
        until(lambda: len(self.lines) > before or not self.thread.is_alive(), "an event", 5)
        return self.thread.is_alive()

    def seconds_to_its_end(self, since: float) -> float:
        """Wait until it has ended."""
        self.thread.join(10)
        assert not self.thread.is_alive(), "the stream goes on"
        return self.ended_at - since

    @property
    def error(self) -> dict[str, Any]:
        """The error that its last event tells of."""
        return dict(json.loads(self.lines[-1].removeprefix(b"data: "))["error"])


@pytest.fixture
def slow(node: Node) -> Iterator[SlowStream]:
    script = SlowStream()
    node.upstream.reset(script)
    yield script
    script.finish.set()


def ended(node: Node, stream: OpenStream) -> Record:
    """Return the E record of a stream's call."""
    wanted = stream.answer.headers["X-Request-Id"]

    def find() -> Record | None:
        for file in (node.gateway.prefix / "journal").glob("*/*.seg"):
            for _, payload in read_frames(file.read_bytes(), HEADER_BYTES):
                record = read_record(payload)
                if record.request_id == wanted and record.kind == 2:
                    return record
        return None

    record: Record = until(find, "the call's end is recorded", 10)
    return record


CHANGES: list[Any] = [
    pytest.param(
        lambda node: {"tenants": {node.tenant: node.tenant_document("suspended")}},
        "tenant_suspended",
        id="suspended",
    ),
    pytest.param(
        lambda node: {"tenants": {node.tenant: None}, "hosts": {HOST: None}},
        "tenant_inactive",
        id="deleted",
    ),
    pytest.param(
        lambda node: {"tenants": {node.tenant: node.tenant_document(expiresAt=1)}},
        "tenant_inactive",
        id="expired",
    ),
    pytest.param(
        lambda node: {"credentials": {node.key_id: None}}, "invalid_api_key", id="revoked key"
    ),
]


@pytest.mark.parametrize(("change", "code"), CHANGES)
def test_open_stream_ends_within_a_second_and_others_go_on(
    node: Node, slow: SlowStream, change: Callable[[Node], Any], code: str
) -> None:
    # One that wants its usage gets the upstream's chunks as they are, so half an event, too.
    mine = [OpenStream(node, wants_usage=bool(number % 2)) for number in range(4)]
    other = OpenStream(node, OTHER_HOST, node.other_key)
    published = time.monotonic()
    node.gateway.publisher.publish(change(node))
    for stream in mine:
        assert stream.seconds_to_its_end(published) < 1
        assert stream.error["code"] == code
        assert [line for line in stream.lines[:-1] if line != CHUNK.strip()] == []
        assert DONE.strip() not in stream.lines
        record = ended(node, stream)
        assert (record.outcome, record.status) == (Outcome.ABORTED, 200)
        assert record.response_bytes > len(CHUNK) * record.events > 0
    until(lambda: slow.left == len(mine), "the upstream is left", 5)
    assert other.goes_on
    slow.finish.set()
    other.seconds_to_its_end(published)
    assert other.lines[-1] == DONE.strip()
    assert ended(node, other).outcome == Outcome.COMPLETE


def test_stream_of_a_tenant_that_changed_and_is_active_goes_on(
    node: Node, slow: SlowStream
) -> None:
    stream = OpenStream(node)
    for number in range(3):
        document = node.tenant_document(expiresAt=9999999999 - number, added=number)
        node.gateway.publish({"tenants": {node.tenant: document}})
        assert stream.goes_on
    node.gateway.publish(
        {"credentials": {node.key_id: {**node.documents()["credentials"][node.key_id]}}}
    )
    assert stream.goes_on
    slow.finish.set()
    stream.seconds_to_its_end(0)
    assert stream.lines[-1] == DONE.strip()


@pytest.mark.parametrize("who", ["tenant", "key"])
def test_stream_ends_and_requests_are_refused_from_the_second_of_expiry_without_a_revision(
    node: Node, slow: SlowStream, who: str
) -> None:
    end = int(now().timestamp()) + 2
    if who == "tenant":
        changes: Any = {"tenants": {node.tenant: node.tenant_document(expiresAt=end)}}
        status, code = 403, "tenant_inactive"
    else:
        document = node.gateway.credential(node.tenant, node.key, expiresAt=end)
        changes = {"credentials": {node.key_id: document}}
        status, code = 401, "invalid_api_key"
    node.gateway.publish(changes)
    stream = OpenStream(node)
    stream.thread.join(10)
    assert end <= now().timestamp() < end + 1
    assert stream.error["code"] == code
    answer = node.call()
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_extended_tenants_stream_outlives_the_former_end(node: Node, slow: SlowStream) -> None:
    end = int(now().timestamp()) + 2
    node.gateway.publish({"tenants": {node.tenant: node.tenant_document(expiresAt=end)}})
    stream = OpenStream(node)
    node.gateway.publish({"tenants": {node.tenant: node.tenant_document()}})
    until(lambda: now().timestamp() > end + 0.5, "the former end has passed", 10)
    assert stream.goes_on


def test_stream_in_an_unknown_encoding_is_cut_off(node: Node, slow: SlowStream) -> None:
    slow.head += b"Content-Encoding: zz\r\n"
    stream = OpenStream(node)
    node.gateway.publish({"credentials": {node.key_id: None}})
    stream.seconds_to_its_end(0)
    assert ended(node, stream).outcome == Outcome.ABORTED
    until(lambda: slow.left == 1, "the upstream is left", 5)


def test_stopped_tenant_is_stopped_at_every_worker_within_a_second_and_resumes_as_fast() -> None:
    for node in make_node(workers=3):
        for status, expected in (("suspended", 403), ("active", 200)) * 3:
            published = time.monotonic()
            node.gateway.publisher.publish({"tenants": {node.tenant: node.tenant_document(status)}})
            agreed = 0
            while agreed < 30:  # new connections, which nginx spreads over its workers
                agreed = agreed + 1 if node.call().status_code == expected else 0
                assert time.monotonic() - published < 1 or agreed > 1, status
            assert time.monotonic() - published < 5
