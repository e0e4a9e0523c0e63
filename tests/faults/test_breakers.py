"""Breakers when things die: a worker that holds a trial's permits, an upstream that flaps."""

import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import pytest
import requests

from tests.breakers import FAILING, Fleet, Hanging, fleet, rule
from tests.stack import until
from tests.upstream import respond

TRIAL_SECONDS = 6
"""How long a trial's permits are lent when the breaker is open for a second."""


def call(nodes: Fleet, node: int = 0) -> int:
    """Return the status of a call, 0 when its worker died."""
    try:
        return nodes.call(node).status_code
    except requests.RequestException:
        return 0


def test_permits_of_a_killed_worker_come_back_when_their_lease_is_over() -> None:
    with fleet("node-a", "node-b") as nodes, ThreadPoolExecutor(4) as pool:
        (breaker,) = nodes.breakers(rule())
        nodes.fail(4)
        nodes.wait_for(breaker, "open", "node-a")
        nodes.wait_for(breaker, "open", "node-b")
        nodes.upstream.reset(hanging := Hanging())
        held = []
        while len(nodes.upstream.received) < 2:
            held.append(pool.submit(call, nodes))
            until(
                lambda: held[-1].done() or len(nodes.upstream.received) == len(hung(held)),
                "a trial or a refusal",
            )
        lent = time.monotonic()
        for worker in nodes.nodes[0].workers():
            os.kill(worker, signal.SIGKILL)
        assert {future.result(10) for future in hung(held)} <= {0, 502}
        nodes.upstream.script = respond()
        hanging.go.set()

        # Nobody tries the service meanwhile, and then somebody does: also the other node.
        assert [call(nodes, 1) for _ in range(4)] == [503] * 4
        until(lambda: call(nodes, 1) == 200, "a trial again", TRIAL_SECONDS + 10)
        assert TRIAL_SECONDS - 2 < time.monotonic() - lent < TRIAL_SECONDS + 5
        until(lambda: call(nodes, 1) == 200, "another one", 5)
        nodes.wait_for(breaker, "closed", "node-b")
        until(lambda: call(nodes, 0) == 200, "the node whose workers died", 5)


def hung(futures: list[Future[int]]) -> list[Future[int]]:
    return [future for future in futures if not (future.done() and future.result() == 503)]


@pytest.mark.parametrize("seconds", [float(os.environ.get("FLAPPING_SECONDS", "10"))])
def test_a_flapping_upstream_opens_it_once_a_period_at_most(seconds: float) -> None:
    with fleet("node-a", "node-b") as nodes:
        (breaker,) = nodes.breakers(rule(minimumCalls=10, windowSeconds=5))
        end = time.monotonic() + seconds

        def ask(node: int) -> None:
            while time.monotonic() < end:
                call(nodes, node)

        threads = [threading.Thread(target=ask, args=(number % 2,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while time.monotonic() < end:
            nodes.upstream.script = FAILING if int(time.monotonic() * 2) % 2 else respond()
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        most = 0
        for node in ("node-a", "node-b"):
            told = [event for event in nodes.events(breaker) if event["node"] == node]
            opened = [float(event["at"]) / 1000 for event in told if event["status"] == "open"]
            gaps = [after - before for before, after in pairwise(opened)]
            print(node, "opened", len(opened), "times, gaps", [round(gap, 1) for gap in gaps])  # noqa: T201
            assert all(gap >= 0.75 for gap in gaps)
            assert len(opened) <= seconds / 0.8
            most = max(most, len(opened))
        assert most > 1, "it flapped"
