"""What a node tells of its services: real calls, their outcomes, and that nothing is lost."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from control_plane.contract import keys
from control_plane.contract.telemetry import BOUNDS_US, COUNTS, OUTCOMES, NodeServicesSchema
from tests.integration.gateway.conftest import Node, make_node
from tests.stack import until
from tests.upstream import Received, Script, chunked, raw, respond


def snapshot(node: Node) -> dict[str, Any]:
    """Return the node's newest snapshot, checked against the contract."""
    text = node.gateway.client.hget(keys.node("node-a"), "services")
    return dict(NodeServicesSchema().loads(text)) if text else {}


def counts(node: Node, service: str = "") -> dict[str, int]:
    """Return what is counted of the model, or of another service."""
    found = snapshot(node).get("services", {}).get(service or f"model:{node.model}")
    return dict(zip(COUNTS, found["counts"], strict=True)) if found else dict.fromkeys(COUNTS, 0)


def outcomes(node: Node) -> dict[str, int]:
    """Return the outcomes of the model that were seen at all."""
    return {name: number for name, number in counts(node).items() if name in OUTCOMES and number}


def slowly(seconds: float) -> Script:
    """Answer after a while."""

    def script(connection: socket.socket, received: Received) -> None:
        time.sleep(seconds)
        respond()(connection, received)

    return script


def test_each_outcome_is_told_apart(node: Node) -> None:
    scripts: list[tuple[str, Script]] = [
        ("ok", respond()),
        ("client_error", respond(status="422 Unprocessable", body=b"{}")),
        ("upstream_error", respond(status="500 Oops", body=b"{}")),
        ("upstream_error", respond(status="401 Unauthorized", body=b"{}")),
        ("unreachable", raw(b"")),
        ("broken", chunked(b'{"a":', kind="application/json", finished=False)),
    ]
    for _, script in scripts:
        node.upstream.reset(script)
        try:
            node.call()
        except requests.RequestException:
            continue
    node.upstream.reset(slowly(1.5))
    with contextlib.suppress(requests.Timeout):
        node.call(timeout=0.3)
    expected = {name: 1 for name, _ in scripts} | {"upstream_error": 2, "aborted": 1}
    until(lambda: outcomes(node) == expected, f"counted {expected}", 8)
    found = counts(node)
    waited = sum(found[f"bucket_{i}"] for i in range(1, len(BOUNDS_US) + 2))
    assert waited == sum(expected.values())
    assert found["tokens_in"] == 11
    assert found["tokens_out"] == 7
    assert 0.3e6 < found["wait_us"] < 5e6


def test_calls_under_way_are_a_level(node: Node) -> None:
    node.upstream.reset(slowly(3))
    callers = [threading.Thread(target=node.call) for _ in range(3)]
    for caller in callers:
        caller.start()

    def level() -> int:
        found = snapshot(node).get("services", {}).get(f"model:{node.model}")
        return found["in_flight"] if found else 0

    until(lambda: level() == 3, "three are under way", 5)
    for caller in callers:
        caller.join()
    until(lambda: level() == 0, "none is under way", 5)
    assert outcomes(node) == {"ok": 3}


def test_a_killed_worker_takes_its_calls_and_nothing_else(node: Node) -> None:
    for _ in range(5):
        node.call()
    until(lambda: outcomes(node) == {"ok": 5}, "five are counted", 5)
    boot = snapshot(node)["boot"]
    for pid in node.gateway.workers():
        os.kill(pid, signal.SIGKILL)
    until(node.gateway.answers, "new workers answer", 10)
    until(lambda: node.call().ok, "the new workers serve", 10)
    until(lambda: outcomes(node).get("ok", 0) >= 6, "counting goes on", 8)
    assert snapshot(node)["boot"] == boot


@pytest.fixture
def narrow_node() -> Iterator[Node]:
    """A node that counts one service apart."""
    yield from make_node(environment={"YUMEN_GATEWAY_COUNTED_SERVICES": "1"})


def test_services_beyond_the_limit_are_counted_together(narrow_node: Node) -> None:
    node = narrow_node
    node.call()
    until(lambda: outcomes(node) == {"ok": 1}, "the first is counted", 5)
    second = "11111111-2222-4333-8444-555555555555"
    model = dict(node.gateway.publisher.documents["models"][node.model])
    tenant = node.tenant_document()
    tenant["models"]["m"] = {**tenant["models"]["m"], "model": second}
    node.gateway.publish({"models": {second: model}, "tenants": {node.tenant: tenant}})
    for _ in range(2):
        node.call()
    until(lambda: counts(node, "other")["ok"] == 2, "the others are counted together", 5)
    assert outcomes(node) == {"ok": 1}
    assert set(snapshot(node)["services"]) == {f"model:{node.model}", "other"}
