"""Eight gateway nodes spend one limit, asked for six times as much, one eight times the others."""

import functools
import shutil
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench.documents import chat_body, limit_rule, tenant_documents
from tests.bench.measure import Load, asked, paced
from tests.bench.report import Figure, console, table
from tests.bench.servers import upstream
from tests.bench.spending import LoopNode, spend_together
from tests.gateway import NginxServer
from tests.servers import RedisServer
from tests.stack import until

HOST = "bench.test"
NODES, SKEW, OFFERED = 8, 8, 6
LIMITS = (10, 100, 1000)
SECONDS = 8
INSIDE = 20_000
UNDER = 0.05
HIGH_RATE, REDIS_CALLS = 1000, 0.05


@dataclass(frozen=True)
class Shared:
    """Outcome of one limit on all nodes."""

    limit: int
    windows: int
    offered: int
    admitted: int
    redis_calls: int

    @property
    def over(self) -> int:
        """How many were let pass beyond what the windows hold."""
        return max(0, self.admitted - self.windows * self.limit)

    @property
    def under(self) -> float:
        """The share of what the windows hold that was not let pass."""
        return max(0.0, 1 - self.admitted / (self.windows * self.limit))


def bench(size: float) -> list[Figure]:
    """Offer too much to eight nodes, over HTTP and, of the highest limit, inside them."""
    figures: list[Figure] = []
    shown = table("Eight nodes, one limit a second", "limit", "windows", "offered", "let pass",
                  "over", "under", "Redis calls ÷ requests")  # fmt: skip
    for limit in (*LIMITS, INSIDE):
        share = share_inside if limit == INSIDE else share_limit
        found = share(limit, max(2, round(SECONDS * size)))
        calls = found.redis_calls / found.offered
        numbers = (found.limit, found.windows, found.offered, found.admitted, found.over)
        shown.add_row(*map(str, numbers), f"{found.under:.1%}", f"{calls:.4f}")
        figures += [
            Figure(f"{limit}/s on {NODES} nodes: over-admitted", found.over, "", most=0),
            Figure(f"{limit}/s on {NODES} nodes: under-admitted", found.under, "", most=UNDER),
        ]
        if limit >= HIGH_RATE:
            what = f"{limit}/s on {NODES} nodes: Redis calls ÷ requests"
            figures.append(Figure(what, calls, "", most=REDIS_CALLS))
    console.print(shown)
    return figures


def share_limit(limit: int, seconds: int) -> Shared:
    """Offer six times *limit* a second to eight nodes for some seconds."""
    with upstream() as origin, fleet(origin.port, limit) as (nodes, key):
        load = Load("/v1/chat/completions", chat_body(), HOST, key)
        counted = f"http://127.0.0.1:{origin.port}/count"
        client = nodes[0].client
        _wait_for_the_middle_of_a_second(client)
        before, calls = _requests(counted), _scripts(client)
        start = client.time()[0]
        offered = sum(
            _offer([node.settings.gateway.port for node in nodes], load, paces(limit), seconds)
        )
        end = client.time()[0]
        admitted = _requests(counted) - before - 1
        return Shared(limit, end - start + 1, offered, admitted, _scripts(client) - calls)


def share_inside(limit: int, seconds: int) -> Shared:
    """Take six times *limit* a second inside eight nodes for some seconds."""
    with fleet(0, limit) as (nodes, _):
        (tenant,) = nodes[0].publisher.documents["tenants"]
        client = nodes[0].client
        _wait_for_the_middle_of_a_second(client)
        calls, start = _scripts(client), client.time()[0]
        spent = spend_together(nodes, tenant, paces(limit), seconds)
        end = client.time()[0]
        return Shared(limit, end - start + 1, spent.asked, spent.passed, _scripts(client) - calls)


def _passes(node: LoopNode, tenant: str) -> bool:
    return node.spend(tenant, 100, 0.02).passed > 0


def paces(limit: int) -> list[float]:
    """Return what each node is asked a second: together six times the limit."""
    portion = limit * OFFERED / (SKEW + NODES - 1)
    return [portion * (SKEW if number == 0 else 1) for number in range(NODES)]


def _wait_for_the_middle_of_a_second(client: Any) -> None:
    """So that the first window and the last one are offered enough to be used up, too."""
    microseconds = client.time()[1]
    time.sleep((1_400_000 - microseconds) / 1e6)


def _requests(url: str) -> int:
    """Return how many requests the upstream has had, this one among them."""
    with urllib.request.urlopen(url) as answer:
        text = answer.read().decode()
    return int(text.splitlines()[2].split()[2])


def _scripts(client: Any) -> int:
    """Return how often a script was run in Redis."""
    stats = client.info("commandstats")
    return sum(int(stats.get(name, {}).get("calls", 0)) for name in ("cmdstat_evalsha",))


def _offer(ports: Sequence[int], load: Load, paces: Sequence[float], seconds: int) -> list[int]:
    """Ask each port at its pace at the same time; return how often each was asked."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(paced(port, load, pace, seconds))
            for port, pace in zip(ports, paces, strict=True)
        ]
        return [asked(process) for process in running]


@contextmanager
def fleet(upstream_port: int, limit: int) -> Iterator[tuple[list[LoopNode], str]]:
    """Run eight nodes on one Redis whose only tenant has *limit* requests a second."""
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer())
        nodes = [
            LoopNode(server.url, environment={"YUMEN_GATEWAY_NODE": f"node-{number}"})
            for number in range(NODES)
        ]
        first = nodes[0]
        first.documents, key = limited(first, HOST, upstream_port, limit)
        for node in nodes[1:]:
            shutil.copytree(first.state / "secrets", node.state / "secrets", dirs_exist_ok=True)
        for node in nodes:
            stack.enter_context(node)
        for node in nodes[1:]:
            node.start()
        revision = f"{first.publisher.epoch}-{first.publisher.revision}"
        for node in nodes:
            node.wait_for(revision)
        (tenant,) = first.documents["tenants"]
        for node in nodes:
            until(functools.partial(_passes, node, tenant), "the node counts by Redis", 20)
        yield nodes, key


def limited(
    node: NginxServer, host: str, upstream_port: int, limit: int
) -> tuple[dict[str, dict[str, Any]], str]:
    """Return a tenant with a limit, and its key."""
    documents, key = tenant_documents(node, host, upstream_port)
    (tenant,) = documents["tenants"]
    return {**documents, "limits": {tenant: {"rules": [limit_rule(limit)]}}}, key
