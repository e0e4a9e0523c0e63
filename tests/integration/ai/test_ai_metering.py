"""How calls end and what they used, as the journal has it, on real nginx."""

import contextlib
import gzip
import json
import socket
import threading
import uuid
import zlib

import pytest
import requests

from control_plane.contract.journal import Outcome, UsageSource
from tests.integration.ai.conftest import CHAT, HOST, Stage
from tests.upstream import (
    ANSWER,
    CHUNK,
    DONE,
    USAGE_CHUNK,
    Received,
    Script,
    chunked,
    raw,
    respond,
)

PLAIN = {"model": "m", "messages": []}
STREAM = {**PLAIN, "stream": True}


def test_a_whole_answer_is_complete_and_counted(ai: Stage) -> None:
    body = json.dumps(PLAIN).encode()
    record = ai.ended(ai.post(body))
    assert record.outcome == Outcome.COMPLETE
    assert record.usage_source == UsageSource.PROVIDER
    assert (record.tokens_in, record.tokens_out) == (11, 7)
    assert (record.tokens_cached, record.tokens_reasoning) == (4, 2)
    assert (record.status, record.upstream_status, record.flags) == (200, 200, 0)
    assert (record.request_bytes, record.response_bytes) == (len(body), len(ANSWER))
    assert (record.cost_per_call, record.cost_multiplier) == ("0.01", "1.5")
    assert record.endpoint == CHAT
    assert str(record.tenant) == ai.tenant
    assert str(record.model) == ai.models["m"]
    assert 0 < record.first_byte_us <= record.duration_us


@pytest.mark.parametrize(
    ("options", "upstream_gets", "is_stripped"),
    [
        (None, {"include_usage": True}, True),
        ({}, {"include_usage": True}, True),
        ({"include_usage": False}, {"include_usage": True}, True),
        ({"x": [1]}, {"include_usage": True, "x": [1]}, True),
        ({"include_usage": True}, {"include_usage": True}, False),
    ],
)
def test_usage_of_a_stream_is_asked_for_and_taken_out(
    ai: Stage, options: object, upstream_gets: object, is_stripped: bool
) -> None:
    ai.upstream.reset(chunked(CHUNK, CHUNK, USAGE_CHUNK, DONE))
    body = STREAM if options is None else {**STREAM, "stream_options": options}
    response = ai.post(body)
    assert json.loads(ai.upstream.received[0].body)["stream_options"] == upstream_gets
    expected = CHUNK * 2 + (b"" if is_stripped else USAGE_CHUNK) + DONE
    assert response.content == expected
    record = ai.ended(response)
    assert record.outcome == Outcome.COMPLETE
    assert (record.tokens_in, record.tokens_out, record.events) == (11, 7, 4)
    assert (record.flags, record.response_bytes) == (1, len(expected))


def test_a_stream_with_a_length_is_stripped_too(ai: Stage) -> None:
    ai.upstream.reset(respond(CHUNK + USAGE_CHUNK + DONE, kind="text/event-stream; charset=utf-8"))
    response = ai.post(STREAM)
    assert response.content == CHUNK + DONE
    assert "Content-Length" not in response.headers


def test_an_embedding_is_not_asked_for_stream_usage(ai: Stage) -> None:
    ai.post(STREAM, "/v1/embeddings")
    assert json.loads(ai.upstream.received[0].body) == STREAM


def test_events_arrive_as_they_are_made(ai: Stage) -> None:
    seen = threading.Event()

    def script(connection: socket.socket, request: Received) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        connection.sendall(head + CHUNK)
        assert seen.wait(10), "the first event was held back"
        connection.sendall(DONE)
        raise ConnectionAbortedError

    ai.upstream.reset(script)
    with ai.post(STREAM, stream=True) as response:
        lines = response.iter_lines()
        assert next(lines) == CHUNK.strip()
        seen.set()
        assert DONE.strip() in list(lines)
    assert ai.ended(response).outcome == Outcome.COMPLETE


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
TRUNCATED = [
    pytest.param(STREAM, chunked(CHUNK, CHUNK, finished=False), 2, id="stream-cut-off"),
    pytest.param(STREAM, chunked(CHUNK, CHUNK, USAGE_CHUNK), 3, id="stream-without-done"),
    pytest.param(STREAM, chunked(CHUNK, b"data: [DON"), 2, id="done-cut-off"),
    pytest.param(PLAIN, raw(HEAD + b"Content-Length: 900\r\n\r\n" + ANSWER), 0, id="short-length"),
    pytest.param(PLAIN, raw(HEAD + b"Connection: close\r\n\r\n" + ANSWER[:-9]), 0, id="by-close"),
    pytest.param(PLAIN, respond(b"not json"), 0, id="not-json"),
    pytest.param(
        STREAM,
        chunked(CHUNK, b'data: {"error":{"message":"overloaded"}}\n\n', DONE),
        3,
        id="error-event",
    ),
]


@pytest.mark.parametrize(("body", "script", "events"), TRUNCATED)
def test_an_answer_without_its_end_is_aborted(
    ai: Stage, body: object, script: object, events: int
) -> None:
    ai.upstream.reset(script)
    request_id = uuid.uuid4().hex
    with contextlib.suppress(requests.exceptions.RequestException):  # told that it is cut off
        ai.post(body, headers={"X-Request-Id": request_id})
    record = ai.ended_id(request_id)
    assert record.outcome == Outcome.ABORTED
    assert record.status == 200
    assert record.events == events


def test_an_answer_delimited_by_close_is_complete_when_whole(ai: Stage) -> None:
    ai.upstream.reset(raw(HEAD + b"Connection: close\r\n\r\n" + ANSWER))
    assert ai.ended(ai.post(PLAIN)).outcome == Outcome.COMPLETE


@pytest.mark.parametrize(
    ("encoding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_compressed_answer_is_decoded(ai: Stage, encoding: str, encode: object) -> None:
    ai.upstream.reset(respond(encode(ANSWER), Content_Encoding=encoding))  # type: ignore[operator]
    response = ai.post(PLAIN, headers={"Accept-Encoding": "gzip"})
    assert response.content == ANSWER
    assert "Content-Encoding" not in response.headers
    record = ai.ended(response)
    assert (record.outcome, record.tokens_in) == (Outcome.COMPLETE, 11)


def test_unsound_compressed_data_is_aborted(ai: Stage) -> None:
    broken = gzip.compress(ANSWER)[:40] + b"\xff" * 60_000
    ai.upstream.reset(chunked(broken[:30_000], broken[30_000:], kind="application/json"))
    ai.upstream.script = _with_header(ai.upstream.script, b"Content-Encoding: gzip")
    response = ai.post(PLAIN)
    assert b"\xff" not in response.content
    assert ai.ended(response).outcome == Outcome.ABORTED
    assert "not sound" in ai.gateway.error_log()


def _with_header(script: Script, header: bytes) -> Script:
    """Add a header to the head that *script* sends."""

    class Proxy:
        def __init__(self, connection: socket.socket) -> None:
            self.connection = connection

        def sendall(self, data: bytes) -> None:
            if data.startswith(b"HTTP/1.1 "):
                data = data.replace(b"\r\n", b"\r\n" + header + b"\r\n", 1)
            self.connection.sendall(data)

    return lambda connection, request: script(Proxy(connection), request)  # type: ignore[arg-type]


def test_an_unknown_encoding_is_metered_as_unknown(ai: Stage) -> None:
    ai.upstream.reset(respond(b"\x01\x02", Content_Encoding="zz"))
    response = ai.post(PLAIN, stream=True)
    assert response.raw.read(decode_content=False) == b"\x01\x02"
    record = ai.ended(response)
    assert (record.outcome, record.usage_source) == (Outcome.COMPLETE, UsageSource.UNKNOWN)
    assert "cannot be metered" in ai.gateway.error_log()


def test_an_answer_without_usage_is_complete_and_unknown(ai: Stage) -> None:
    ai.upstream.reset(respond(b'{"choices":[]}'))
    record = ai.ended(ai.post(PLAIN))
    assert (record.outcome, record.usage_source) == (Outcome.COMPLETE, UsageSource.UNKNOWN)


def test_a_client_that_leaves_aborts_the_upstream(ai: Stage) -> None:
    ended = threading.Event()

    def script(connection: socket.socket, request: Received) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        connection.sendall(head + CHUNK * 3)
        connection.settimeout(10)
        assert connection.recv(1) == b""
        ended.set()

    ai.upstream.reset(script)
    request_id = uuid.uuid4().hex
    response = ai.post(STREAM, stream=True, headers={"X-Request-Id": request_id})
    assert next(response.iter_lines()) == CHUNK.strip()
    response.close()
    assert ended.wait(10), "the upstream goes on for nobody"
    record = ai.ended_id(request_id)
    assert (record.outcome, record.events) == (Outcome.ABORTED, 3)
    assert record.response_bytes == len(CHUNK * 3)


def test_a_client_that_leaves_before_the_answer_is_aborted(ai: Stage) -> None:
    arrived, release = threading.Event(), threading.Event()

    def script(connection: socket.socket, request: Received) -> None:
        arrived.set()
        release.wait(10)

    ai.upstream.reset(script)
    request_id = uuid.uuid4().hex
    body = json.dumps(PLAIN)
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {ai.key}\r\n"
        f"X-Request-Id: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    address = ("127.0.0.1", ai.gateway.settings.gateway.port)
    with socket.create_connection(address) as client:
        client.sendall((head + body).encode())
        assert arrived.wait(10)
    record = ai.ended_id(request_id)
    release.set()
    assert (record.outcome, record.status) == (Outcome.ABORTED, 499)


def test_a_refused_call_leaves_no_record(ai: Stage) -> None:
    response = ai.post({"model": "none"})
    assert response.status_code == 404
    wanted = response.headers["X-Request-Id"]
    assert not [r for r in ai.records() if r.request_id == wanted]
