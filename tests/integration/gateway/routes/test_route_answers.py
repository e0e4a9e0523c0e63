"""Bodies, times and failures of calls on tenants' own routes, and what is recorded of them."""

import socket
import time
import uuid
from typing import Any

import pytest
import requests

from control_plane.contract.journal import HEADER_BYTES, Outcome, Record, read_frames, read_record
from tests.integration.gateway.conftest import Node
from tests.integration.gateway.routes.conftest import (
    NO_ID,
    UPSTREAM,
    call,
    only,
    recorded,
    route,
    serve,
)
from tests.stack import until
from tests.upstream import Received, chunked, respond


@pytest.mark.parametrize("announced", [True, False])
def test_request_body_that_is_too_long(node: Node, announced: bool) -> None:
    serve(node, route(maxRequestBytes=1000))

    def body(size: int) -> Any:
        return b"x" * size if announced else iter([b"x" * size])

    refused = call(node, method="POST", data=body(1001))
    assert (refused.status_code, refused.json()["code"]) == (413, "request_too_large")
    assert "1000" in refused.json()["detail"]
    assert node.upstream.received == []
    passed = call(node, method="POST", data=body(1000))
    assert passed.status_code == 200
    assert len(only(node).body) == 1000
    assert recorded(node, passed)[0].request_bytes == 1000


def test_long_chunked_body_is_measured_on_disk(node: Node) -> None:
    serve(node, route(maxRequestBytes=600_000))
    assert call(node, method="POST", data=iter([b"x" * 600_001])).status_code == 413
    assert call(node, method="POST", data=iter([b"x" * 600_000])).status_code == 200
    assert len(only(node).body) == 600_000


def head_alone(connection: socket.socket, _: Received) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")


def test_answer_that_is_too_long(node: Node) -> None:
    serve(node, route(maxResponseBytes=1000))
    node.upstream.reset(respond(b"x" * 1000))
    assert call(node).status_code == 200
    node.upstream.reset(respond(b"x" * 1001, ETag='"x"'))
    refused = call(node)
    assert (refused.status_code, refused.json()["code"]) == (502, "response_too_large")
    assert "ETag" not in refused.headers
    assert recorded(node, refused)[0].outcome == Outcome.FAILED
    node.upstream.reset(head_alone)
    assert call(node, method="HEAD").status_code == 200
    node.upstream.reset(chunked(b"x" * 900, b"y" * 900))
    with pytest.raises(requests.exceptions.RequestException):
        call(node)


def slow_answer(*pauses: float) -> Any:
    """Answer after the first pause, then a part after each other one."""

    def script(connection: socket.socket, received: Received) -> None:
        time.sleep(pauses[0])
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        for pause in pauses[1:]:
            time.sleep(pause)
            connection.sendall(b"1\r\nb\r\n")
        connection.sendall(b"0\r\n\r\n")

    return script


TIMEOUTS = {"connect": 5.0, "send": 5.0, "firstByte": 5.0, "betweenBytes": 5.0, "total": None}


def test_service_that_answers_too_late(node: Node) -> None:
    serve(node, route(timeouts={**TIMEOUTS, "firstByte": 0.3, "betweenBytes": 0.3}))
    node.upstream.reset(slow_answer(1.5))
    answer = call(node)
    assert (answer.status_code, answer.json()["code"]) == (504, "upstream_timeout")
    record = recorded(node, answer)[0]
    assert (record.outcome, record.status, record.upstream_status) == (Outcome.FAILED, 504, 0)


def test_service_that_stops_in_the_middle(node: Node) -> None:
    serve(node, route(timeouts={**TIMEOUTS, "firstByte": 0.3, "betweenBytes": 0.3}))
    node.upstream.reset(slow_answer(0, 1.5))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        call(node, headers={"X-Request-Id": "stopped"})
    assert recorded(node, "stopped")[0].outcome == Outcome.ABORTED


def test_whole_call_that_takes_too_long(node: Node) -> None:
    serve(node, route(timeouts={**TIMEOUTS, "total": 1.0}))
    node.upstream.reset(slow_answer(0, *[0.2] * 20))
    started = time.monotonic()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        call(node)
    assert time.monotonic() - started < 3.5
    node.upstream.reset(slow_answer(3.0))
    assert call(node).status_code == 504


def test_service_that_is_away(node: Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    serve(node, route(), targets=[{"host": "127.0.0.1", "port": port, "weight": 1}])
    answer = call(node)
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_unreachable")
    assert recorded(node, answer)[0].outcome == Outcome.FAILED
    serve(node, route(), targets=[{"host": "10.0.0.1", "port": 80, "weight": 1}])
    assert call(node).json()["code"] == "upstream_forbidden"
    node.gateway.publish({"upstreams": {UPSTREAM: None}})
    answer = call(node)
    assert (answer.status_code, answer.json()["code"]) == (503, "route_unavailable")


def test_an_upstream_of_another_tenant_is_as_if_it_were_not_there(node: Node) -> None:
    serve(node, route(), tenant=str(uuid.uuid4()))
    answer = call(node, "/x")
    assert (answer.status_code, answer.json()["code"]) == (503, "route_unavailable")
    assert not node.upstream.received
    serve(node, route(), tenant=node.tenant)
    assert call(node, "/x").status_code == 200


def test_plain_call_journals_its_end_alone(node: Node) -> None:
    serve(node, route("orders"))
    node.upstream.reset(respond(b"no such order", "404 Not Found"))
    answer = call(node, "/orders/1", "POST", data=b"12345")
    (record,) = recorded(node, answer)
    assert record.kind == 2
    assert (record.endpoint, record.status, record.upstream_status) == ("orders", 404, 404)
    assert (record.outcome, record.request_bytes, record.response_bytes) == (
        Outcome.COMPLETE,
        5,
        13,
    )
    assert record.tenant == uuid.UUID(node.tenant)
    assert record.key != NO_ID
    assert record.model == NO_ID
    assert (record.cost_per_call, record.cost_multiplier) == ("0", "0")
    assert record.duration_us >= record.first_byte_us > 0


def test_numbers_of_calls_leave_no_gap(node: Node) -> None:
    serve(node, route())
    for _ in range(3):
        assert call(node).status_code == 200
        assert node.call().status_code == 200
    until(lambda: len(all_records(node)) > 0, "records")
    seqs = sorted(record.seq for record in all_records(node) if record.kind == 2)
    assert seqs == list(range(1, len(seqs) + 1))


def all_records(node: Node) -> list[Record]:
    return [
        read_record(payload)
        for file in (node.gateway.prefix / "journal").glob("*/*.seg")
        for _, payload in read_frames(file.read_bytes(), HEADER_BYTES)
    ]


def test_cut_off_answer_is_aborted(node: Node) -> None:
    serve(node, route())
    node.upstream.reset(chunked(b"half", finished=False))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        call(node, headers={"X-Request-Id": "cut-off"})
    assert recorded(node, "cut-off")[0].outcome == Outcome.ABORTED


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "304 Not Modified"])
def test_answer_without_a_body_is_complete(node: Node, status: str) -> None:
    serve(node, route())
    node.upstream.reset(respond(b"", status))
    answer = call(node)
    assert recorded(node, answer)[0].outcome == Outcome.COMPLETE
