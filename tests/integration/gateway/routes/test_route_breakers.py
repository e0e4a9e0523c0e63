"""Breakers of an upstream's calls on a tenant's own routes, over HTTP."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from control_plane.contract import keys
from tests.breakers import Hanging, answers_after, rule
from tests.integration.gateway.conftest import Node, make_node
from tests.integration.gateway.routes.conftest import UPSTREAM, call, route, serve
from tests.route_documents import route_document, upstream_document
from tests.stack import free_port, until
from tests.upstream import chunked, raw, respond

SERVICE = f"upstream:{UPSTREAM}"
SHORT = {"connect": 1.0, "send": 1.0, "firstByte": 0.3, "betweenBytes": 1.0, "total": None}


@pytest.fixture
def node(module_node: Node) -> Iterator[Node]:
    """A node whose tenant has a route, and nothing to remember of its breakers."""
    module_node.upstream.reset(respond(b"well"))
    serve(module_node, route())
    yield module_node
    module_node.gateway.publish({"breakers": {SERVICE: None}})


def guard(node: Node, **fields: Any) -> str:
    """Give the upstream one breaker; return its id."""
    one = rule(**fields)
    node.gateway.publish({"breakers": {SERVICE: {"breakers": [one]}}})
    return str(one["id"])


def is_refused(answer: requests.Response) -> bool:
    """Tell whether the breaker refused, with all that belongs to it."""
    if answer.status_code != 503:
        return False
    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["code"] == "circuit_open"
    assert int(answer.headers["Retry-After"]) >= 1
    return True


def status(node: Node, breaker: str) -> str:
    """Return what the node reports of the breaker."""
    told = json.loads(node.gateway.client.hget(keys.node("node-a"), "breakers") or "{}")
    return str(told.get(breaker, {}).get("status"))


def test_it_opens_is_tried_and_closes(node: Node) -> None:
    breaker = guard(node)
    node.upstream.script = respond(b"ill", "500 Ill")
    assert [call(node).status_code for _ in range(4)] == [500] * 4
    assert is_refused(call(node))
    assert len(node.upstream.received) == 4
    until(lambda: status(node, breaker) == "open", "the node says so", 5)

    # Two permits are out at a time when it is tried; who has none is refused.
    node.upstream.reset(hanging := Hanging())
    with ThreadPoolExecutor(2) as pool:
        trials = []
        while len(node.upstream.received) < 2:
            trials = [one for one in trials if not one.done()]
            trials.append(pool.submit(call, node))
            time.sleep(0.1)
        assert is_refused(call(node))
        until(lambda: status(node, breaker) == "halfOpen", "the node says so", 5)
        hanging.go.set()
        assert {one.result().status_code for one in trials} == {200}
    until(lambda: status(node, breaker) == "closed", "the node says so", 5)
    node.upstream.script = respond(b"well")
    assert [call(node).text for _ in range(4)] == ["well"] * 4


def test_a_failed_trial_opens_it_again(node: Node) -> None:
    guard(node)
    node.upstream.script = respond(b"ill", "500 Ill")
    for _ in range(4):
        call(node)
    assert is_refused(call(node))
    until(lambda: call(node).status_code == 500, "a trial", 5)
    assert is_refused(call(node))


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(answers_after(1.0), id="late"),
        pytest.param(raw(b""), id="no answer"),
        pytest.param(chunked(b"half", finished=False), id="cut off"),
    ],
)
def test_failures_of_the_service_open_it(node: Node, script: Any) -> None:
    serve(node, route(timeouts=SHORT))
    guard(node)
    node.upstream.script = script
    for _ in range(4):
        try:
            assert call(node).status_code in (502, 504)
        except requests.RequestException:
            continue
    assert is_refused(call(node))


def test_answers_about_the_call_do_not_open_it(node: Node) -> None:
    guard(node)
    node.upstream.script = respond(b"no", "404 Not Found")
    assert [call(node).status_code for _ in range(8)] == [404] * 8


def test_it_is_about_one_service(node: Node) -> None:
    guard(node, mode="forcedOpen")
    assert is_refused(call(node))
    node.upstream.reset()
    assert node.call().status_code == 200, "models have breakers of their own"


def test_what_any_worker_finds_out_of_targets_is_reported() -> None:
    with ExitStack() as stack:
        made = make_node(workers=2)
        node = next(made)
        stack.callback(made.close)
        ports = {f"{number:08d}-0000-4000-8000-000000000000": free_port() for number in range(8)}
        passive = {"failures": 1, "seconds": 60.0}
        routes = [route_document(name, name, f"/{name}") for name in ports]
        upstreams = {name: upstream_document(port, passive=passive) for name, port in ports.items()}
        node.gateway.publish({"upstreams": upstreams, "routes": {node.tenant: {"routes": routes}}})
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda name: call(node, f"/{name}").status_code, ports)
            assert set(answers) == {502}
        ill = {"healthy": False, "reason": "calls failed"}
        expected = {name: {f"127.0.0.1:{port}": ill} for name, port in ports.items()}

        def told() -> Any:
            return json.loads(node.gateway.client.hget(keys.node("node-a"), "targets") or "{}")

        until(lambda: told() == expected, "all are told of", 8)
