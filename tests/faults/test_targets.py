"""One of three targets fails under load, in each way in which servers do; few calls notice.

The client is an open loop: it asks at a fixed rate whatever comes back. `YUMEN_FAULT_RATE` is how
many calls a second (50), `YUMEN_FAULT_SECONDS` how long after a target has gone no call may notice
(2), `YUMEN_FAULT_PERIODS` how often one flaps (1).
"""

import asyncio
import os
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from tests.faults.load import Connection, Target
from tests.integration.gateway.conftest import HOST, Node, make_node
from tests.route_documents import route_document, upstream_document
from tests.stack import free_port
from tests.upstream import Received, Script, Upstream, respond

RATE = int(os.environ.get("YUMEN_FAULT_RATE", "50"))
SETTLED_SECONDS = float(os.environ.get("YUMEN_FAULT_SECONDS", "2"))
PERIODS = int(os.environ.get("YUMEN_FAULT_PERIODS", "1"))
PERIOD_SECONDS = 3
TIMEOUT = 0.5

CHECK = {
    "path": "/health",
    "interval": 0.5,
    "timeout": TIMEOUT,
    "healthyAfter": 2,
    "unhealthyAfter": 2,
    "statuses": [],
}
PASSIVE = {"failures": 3, "seconds": 5.0}
FLAPPING = {"failures": 3, "seconds": 1.0}


class Caller(Target):
    """Sends requests that may be sent again, or with a body ones that may not."""

    def request(self, request_id: str, stream: bool) -> bytes:
        body = "x" if stream else ""
        return (
            f"{'POST' if stream else 'GET'} / HTTP/1.1\r\nHost: {self.host}\r\n"
            f"Authorization: Bearer {self.key}\r\nX-Request-Id: {request_id}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


@dataclass(frozen=True)
class Call:
    """One call: due at this second of the load; 0 is no status; how long it took."""

    at: float
    status: int
    seconds: float


async def _load(caller: Caller, seconds: float, posts: bool) -> list[Call]:
    calls: list[Call] = []
    idle: list[Connection] = []
    start = time.monotonic()

    async def one(number: int) -> None:
        connection = idle.pop() if idle else Connection(caller)
        begun = time.monotonic()
        try:
            async with asyncio.timeout(20):
                status, _ = await connection.ask(f"targets-{number}", posts)
        except (OSError, EOFError, TimeoutError):
            status = 0
        idle.append(connection)
        calls.append(Call(number / RATE, status, time.monotonic() - begun))

    async with asyncio.TaskGroup() as group:
        for number in range(int(RATE * seconds)):
            await asyncio.sleep(max(0, start + number / RATE - time.monotonic()))
            group.create_task(one(number))
    for connection in idle:
        connection.close()
    return calls


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    yield from make_node(workers=2)


@pytest.fixture
def targets() -> Iterator[list[Upstream]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Upstream(respond(b"well"))) for _ in range(3)]


def serve(node: Node, ports: list[int], **fields: Any) -> str:
    """Route everything to an upstream of targets on these ports; return its id."""
    upstream = str(uuid.uuid4())
    listed = [{"host": "127.0.0.1", "port": port, "weight": 1} for port in ports]
    times = dict.fromkeys(("connect", "send", "firstByte", "betweenBytes"), TIMEOUT)
    node.gateway.publish(
        {
            "upstreams": {upstream: upstream_document(0, **{"targets": listed, **fields})},
            "routes": {
                node.tenant: {
                    "routes": [route_document("r", upstream, timeouts={**times, "total": None})]
                }
            },
        }
    )
    return upstream


def load(node: Node, seconds: float, *, posts: bool = False) -> list[Call]:
    """Call at the rate for *seconds* and print what came."""
    caller = Caller(node.gateway.settings.gateway.port, HOST, node.key, "")
    calls = asyncio.run(_load(caller, seconds, posts))
    slowest = max(call.seconds for call in calls)
    print(  # noqa: T201
        f"{len(calls)} calls, {dict(Counter(call.status for call in calls))}, "
        f"slowest {slowest:.2f} s, last failure at "
        f"{max((call.at for call in calls if call.status != 200), default=0):.1f} s"
    )
    return calls


@contextmanager
def meanwhile(run: Callable[[], None]) -> Iterator[None]:
    """Run something beside the load."""
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def black_hole() -> Iterator[int]:
    """Yield a port that listens and accepts nobody: its queue is full."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def failures(calls: list[Call], since: float = 0) -> float:
    """Return the share of calls since a second that did not get 200."""
    late = [call for call in calls if call.at >= since]
    return sum(call.status != 200 for call in late) / len(late)


def test_a_black_hole_is_soon_left_out(node: Node, targets: list[Upstream]) -> None:
    with black_hole() as port:
        ports = [port, targets[0].port, targets[1].port]
        serve(node, ports, healthCheck=CHECK, passive=PASSIVE)
        calls = load(node, SETTLED_SECONDS + max(1, SETTLED_SECONDS / 3), posts=True)
    assert failures(calls, SETTLED_SECONDS) < 0.001
    assert failures(calls) < 0.15


def test_a_target_that_answers_nothing_is_hidden_by_retries(
    node: Node, targets: list[Upstream]
) -> None:
    def silent(_: socket.socket, __: Received) -> None:
        time.sleep(3)

    targets[0].script = silent
    ports = [target.port for target in targets]
    serve(node, ports, passive=PASSIVE, retries={"attempts": 2, "statuses": "none"})
    calls = load(node, 2.5)
    # Until it is left out each third call waits; the budget may not be there for all of them yet.
    assert failures(calls, 1.5) == 0
    assert failures(calls) < 0.2
    assert {call.status for call in calls} <= {200, 504}


def test_a_slow_target_is_left_out_by_its_checks(node: Node, targets: list[Upstream]) -> None:
    def slow(connection: socket.socket, received: Received) -> None:
        time.sleep(2)
        respond(b"slow")(connection, received)

    targets[0].script = slow
    serve(node, [target.port for target in targets], healthCheck=CHECK)
    calls = load(node, 3.2)
    assert failures(calls, 2.6) == 0


def test_a_killed_target_costs_no_call(node: Node, targets: list[Upstream]) -> None:
    with ExitStack() as stack:
        victim = stack.enter_context(Upstream(respond(b"well")))
        ports = [victim.port, targets[0].port, targets[1].port]
        serve(node, ports, passive=PASSIVE, retries={"attempts": 1, "statuses": "none"})

        def kill() -> None:
            time.sleep(0.7)
            stack.close()

        with meanwhile(kill):
            calls = load(node, 1.5)
    assert failures(calls) == 0
    assert sum(1 for target in targets[:2] for _ in target.received) > len(calls) / 2


def times_left_out(calls: list[float], others: list[float]) -> int:
    """Count how often a target was left out, by when it and the others were called.

    One call between two pauses was a trial that failed: nothing has changed.
    """
    count, since_pause = 0, 2
    for before, after in pairwise(calls):
        if after - before > FLAPPING["seconds"] * 0.8 and sum(before < at < after for at in others):
            count += since_pause > 1
            since_pause = 0
        since_pause += 1
    return count


def test_a_flapping_target_is_left_out_once_a_period(node: Node, targets: list[Upstream]) -> None:
    ill, well = respond(b"ill", "503 Ill"), respond(b"well")
    called: list[list[float]] = [[], [], []]

    def noting(index: int, answer: Script) -> Script:
        def script(connection: socket.socket, received: Received) -> None:
            called[index].append(time.monotonic())
            answer(connection, received)

        return script

    for index, target in enumerate(targets):
        target.script = noting(index, well)
    serve(node, [target.port for target in targets], passive=FLAPPING)

    def flap() -> None:
        for _ in range(PERIODS):
            targets[0].script = noting(0, ill)
            time.sleep(PERIOD_SECONDS / 2)
            targets[0].script = noting(0, well)
            time.sleep(PERIOD_SECONDS / 2)

    with meanwhile(flap):
        calls = load(node, PERIODS * PERIOD_SECONDS)
    # Without anybody left out it would be a sixth.
    assert failures(calls) < 0.08
    assert 1 <= times_left_out(called[0], called[1]) <= PERIODS
    called[0].clear()
    assert failures(load(node, 1)) == 0
    assert len(called[0]) > RATE / 6, "it is used again when it is well"


def test_nothing_is_left_out_when_all_are_dead(node: Node) -> None:
    ports = [free_port() for _ in range(3)]
    retries = {"attempts": 2, "statuses": "none"}
    upstream = serve(node, ports, passive=PASSIVE, retries=retries)
    calls = load(node, 1)
    assert {call.status for call in calls} == {502}
    assert f"more than half of the peers of upstream {upstream}" in node.gateway.error_log()
