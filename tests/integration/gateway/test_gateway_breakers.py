"""Breakers over HTTP: two real nodes with two workers each, one Redis, one upstream."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from control_plane.contract import keys
from control_plane.core.clock import now
from tests.breakers import FAILING, HOST, Fleet, Hanging, answers_after, fleet, is_refused, rule
from tests.gateway import NginxServer
from tests.stack import until
from tests.upstream import CHUNK, DONE, chunked, raw, respond

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Fleet]:
    with fleet("node-a", "node-b") as made:
        yield made


@pytest.fixture
def nodes(two_nodes: Fleet) -> Iterator[Fleet]:
    """Both nodes, with a good upstream and no breaker."""
    two_nodes.upstream.reset()
    yield two_nodes
    two_nodes.upstream.reset()
    two_nodes.breakers()


def reported(nodes: Fleet, node: str, breaker: str) -> str | None:
    """Return the breaker's status in the node's report; check what else it says."""
    text = nodes.nodes[0].client.hget(keys.node(node), "breakers")
    found = json.loads(text).get(breaker) if text else None
    if not found:
        return None
    assert set(found) == {"status", "since", "reason", "generation"}
    assert abs(found["since"] / 1000 - now().timestamp()) < 60
    return str(found["status"])


def pause(seconds: float) -> None:
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, "time to pass", seconds + 5)


def test_it_opens_is_tried_and_closes(nodes: Fleet) -> None:
    (breaker,) = nodes.breakers(rule())
    assert [nodes.call().status_code for _ in range(2)] == [200, 200]
    nodes.fail(2)
    nodes.upstream.reset()
    event = nodes.wait_for(breaker, "open", "node-a")
    opened = time.monotonic()
    assert event["reason"] == "2 of 4 calls failed in 30 s"
    assert nodes.is_open()
    assert nodes.upstream.received == []

    until(lambda: nodes.call().status_code == 200, "a trial", 10)
    assert time.monotonic() - opened > 0.4
    assert nodes.call().status_code == 200
    event = nodes.wait_for(breaker, "closed", "node-a")
    assert event["reason"] == "2 trial calls succeeded"
    nodes.wait_for(breaker, "closed", "node-b")
    assert {nodes.call(number % 2).status_code for number in range(20)} == {200}


def test_what_one_node_finds_out_all_know_at_once(nodes: Fleet) -> None:
    (breaker,) = nodes.breakers(rule(resetTimeout=30))
    nodes.fail(4)
    event = nodes.wait_for(breaker, "open", "node-b", 5)
    for name in ("node-a", "node-b"):
        until(lambda name=name: reported(nodes, name, breaker) == "open", f"{name} reports it", 8)
    assert (event["by"], event["reason"]) == ("node-a", "4 of 4 calls failed in 30 s")
    nodes.upstream.reset()
    # Each worker of both.
    assert all(nodes.is_open(number % 2) for number in range(40))
    assert nodes.upstream.received == []
    with_late = nodes.start("node-late")
    until(lambda: nodes.is_open(-1), "a node that came late knows", 5)
    nodes.nodes.remove(with_late)
    with_late.stop()


def test_the_fleet_tries_as_often_as_one_node_would(nodes: Fleet) -> None:
    (breaker,) = nodes.breakers(rule())
    nodes.fail(4)
    nodes.wait_for(breaker, "open", "node-b", 5)
    nodes.upstream.reset(hanging := Hanging())
    statuses: list[int] = []

    def ask(node: int) -> None:
        end = time.monotonic() + 4
        while time.monotonic() < end:
            statuses.append(nodes.call(node).status_code)

    threads = [threading.Thread(target=ask, args=(number % 2,)) for number in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: nodes.upstream.received, "a trial", 4)
    pause(1)
    assert len(nodes.upstream.received) == 2
    nodes.upstream.script = respond()
    hanging.go.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200, 503}
    nodes.wait_for(breaker, "closed", "node-a")
    nodes.wait_for(breaker, "closed", "node-b")
    tried = [e for e in nodes.events(breaker) if e["status"] == "halfOpen"]
    assert len(tried) == 1


def test_a_failed_trial_opens_it_for_longer(nodes: Fleet) -> None:
    (breaker,) = nodes.breakers(rule())
    nodes.fail(4)
    nodes.upstream.script = FAILING
    nodes.wait_for(breaker, "open", "node-a")
    until(lambda: nodes.call().status_code == 500, "a trial", 10)
    opened = time.monotonic()
    until(lambda: nodes.events(breaker)[-1]["reason"] == "a trial call failed", "it is told", 5)
    assert nodes.is_open()
    nodes.upstream.script = respond()
    until(lambda: nodes.call().status_code == 200, "another trial", 10)
    assert time.monotonic() - opened > 1.2
    opened_by_a = [e for e in nodes.events(breaker) if e["status"] == "open"]
    assert len([e for e in opened_by_a if e["node"] == "node-a"]) == 2


def test_while_redis_is_away_each_node_tries_by_itself(nodes: Fleet) -> None:
    nodes.breakers(rule())
    process = nodes.redis.process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    try:
        nodes.fail(4)
        until(nodes.is_open, "it is open", 5)
        assert nodes.call(1).status_code == 200
        until(lambda: nodes.call().status_code == 200, "a trial without Redis", 10)
        until(lambda: [nodes.call().status_code for _ in range(4)] == [200] * 4, "closed", 10)
    finally:
        os.kill(process.pid, signal.SIGCONT)


def outcome_of_five(nodes: Fleet, script: Any, send: Callable[[], None]) -> bool:
    """Whether five calls that end by *script* open the breaker."""
    nodes.breakers(rule(resetTimeout=30, countedStatuses=[500, 503]))
    nodes.upstream.script = script
    for _ in range(5):
        send()
    nodes.upstream.reset()
    # The last of them is counted a moment after its client has left.
    pause(0.3)
    return sum(nodes.is_open() for _ in range(4)) > 0


def leave(node: NginxServer, key: str, wait_for: bytes, body: dict[str, Any]) -> None:
    """Send a call and hang up once *wait_for* has come."""
    text = json.dumps({"model": "m", "messages": [], **body})
    with socket.create_connection(("127.0.0.1", node.settings.gateway.port)) as client:
        client.settimeout(5)
        head = f"POST {CHAT} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\n"
        client.sendall(f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode())
        got = b""
        while wait_for not in got:
            got += client.recv(65536)
        if not wait_for:
            time.sleep(0.05)


def stream(nodes: Fleet) -> None:
    try:
        nodes.call(body={"stream": True})
    except OSError:
        return


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (respond(b"{}", "503 Service Unavailable"), ""),
        (raw(b""), ", 4 not reached"),
        (raw(b'HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"a"'), ", 4 broken off"),
        (chunked(CHUNK, finished=False), ", 4 broken off"),
        (chunked(CHUNK), ", 4 broken off"),
    ],
    ids=["status", "no answer", "cut short", "stream torn off", "stream without its end"],
)
def test_failures_of_the_upstream_count(nodes: Fleet, script: Any, reason: str) -> None:
    (breaker,) = nodes.breakers(rule(resetTimeout=30))
    nodes.upstream.script = script
    for _ in range(4):
        stream(nodes)
    nodes.upstream.reset()
    event = nodes.wait_for(breaker, "open", "node-a")
    assert nodes.is_open()
    assert event["reason"] == f"4 of 4 calls failed in 30 s{reason}"


@pytest.mark.parametrize(
    "script",
    [
        respond(b"{}", "400 Bad Request"),
        respond(b"{}", "401 Unauthorized"),
        respond(b"{}", "429 Too Many Requests"),
        respond(b"{}", "501 Not Implemented"),
        chunked(CHUNK, DONE),
    ],
    ids=["400", "401", "429", "501", "a whole stream"],
)
def test_answers_that_are_no_failures_do_not_count(nodes: Fleet, script: Any) -> None:
    assert not outcome_of_five(nodes, script, lambda: stream(nodes))


def test_a_client_that_leaves_says_nothing_of_the_service(nodes: Fleet) -> None:
    first = nodes.nodes[0]

    def early() -> None:
        leave(first, nodes.key, b"", {})

    def midway() -> None:
        leave(first, nodes.key, b"data: ", {"stream": True})

    def endless(connection: socket.socket, _: Any) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK))
            time.sleep(0.02)

    assert not outcome_of_five(nodes, answers_after(0.3), early)
    assert not outcome_of_five(nodes, endless, midway)


def test_slow_answers_open_it(nodes: Fleet) -> None:
    (breaker,) = nodes.breakers(rule(slowCallMilliseconds=20, resetTimeout=30))
    nodes.upstream.script = answers_after(0.1)
    for _ in range(4):
        nodes.call()
    nodes.upstream.reset()
    event = nodes.wait_for(breaker, "open", "node-a")
    assert nodes.is_open()
    assert event["reason"] == "4 of 4 calls took longer than 20 ms in 30 s"


def test_an_answer_may_take_long_once_it_has_begun(nodes: Fleet) -> None:
    nodes.breakers(rule(slowCallMilliseconds=1000, resetTimeout=30, minimumCalls=1))

    def lasting(connection: socket.socket, _: Any) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for part in (CHUNK, CHUNK, DONE):
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            time.sleep(0.5)
        connection.sendall(b"0\r\n\r\n")

    nodes.upstream.script = lasting
    stream(nodes)
    nodes.upstream.reset()
    pause(0.3)
    assert not nodes.is_open()


def test_failures_one_after_the_other_open_it(nodes: Fleet) -> None:
    (breaker,) = nodes.breakers(rule(minimumCalls=100, consecutiveFailures=3, resetTimeout=30))
    nodes.fail(2)
    pause(0.2)
    assert nodes.call().status_code == 200
    pause(0.2)
    nodes.fail(3)
    event = nodes.wait_for(breaker, "open", "node-a")
    assert nodes.is_open()
    assert event["reason"].startswith("3 calls failed one after the other; 5 of 6 calls failed")


def test_an_operator_opens_and_disables_it(nodes: Fleet) -> None:
    forced = rule(mode="forcedOpen")
    nodes.breakers(forced)
    assert all(nodes.is_open(number % 2) for number in range(8))
    assert nodes.upstream.received == []
    nodes.breakers({**forced, "mode": "disabled"})
    nodes.fail(8)
    assert nodes.call().status_code == 200
    nodes.breakers({**forced, "mode": "auto"})
    assert nodes.call().status_code == 200


def test_a_breaker_may_be_about_a_tenant_or_an_endpoint(nodes: Fleet) -> None:
    forced = rule(mode="forcedOpen")
    for fields, expected in (
        ({"tenant": nodes.tenant}, True),
        ({"tenant": nodes.model}, False),
        ({"endpoint": CHAT}, True),
        ({"endpoint": "/v1/chat"}, True),
        ({"endpoint": "/v1/ch"}, False),
        ({"endpoint": "/v1/embeddings"}, False),
    ):
        nodes.breakers({**forced, **fields})
        assert nodes.is_open() is expected, fields


def test_of_several_breakers_each_must_let_a_call_pass(nodes: Fleet) -> None:
    narrow, wide = rule(endpoint=CHAT, resetTimeout=30), rule(minimumCalls=100)
    nodes.breakers(wide, narrow)
    nodes.fail(4)
    nodes.wait_for(narrow["id"], "open", "node-a")
    assert nodes.is_open()
    answer = nodes.call(path="/v1/embeddings", data=json.dumps({"model": "m", "input": "x"}))
    assert answer.status_code == 200
    assert nodes.events(wide["id"]) == []
    assert not is_refused(answer)
