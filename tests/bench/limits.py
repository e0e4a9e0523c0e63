"""Eight gateway nodes spend one limit, offered six times as much, one of them eight times the rest.

And on one node: how much a tenant that asks for ten times its limit costs another one.
"""

import dataclasses
import functools
import re
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench.documents import chat_body, limit_rule, tenant_documents
from tests.bench.measure import SCRIPT, BenchError, Client, Load
from tests.bench.report import Figure, console, percentile, table
from tests.bench.servers import upstream
from tests.gateway import NginxServer
from tests.servers import RedisServer
from tests.stack import until

HOST, OTHER_HOST = "bench.test", "other.bench.test"
NODES, SKEW, OFFERED = 8, 8, 6
LIMITS = (10, 100, 1000)
SECONDS = 8
FAIRNESS_LIMIT, TIMES_OVER = 100, 10
FAIRNESS_ROUNDS, FAIRNESS_SECONDS = 5, 4
ASKED_A_SECOND = 100
UNDER, FAIRNESS = 0.05, 1.3

# Each connection asks, and waits so long before the next time.
PACED = SCRIPT + "\nfunction delay() return {pause_ms} end\n"


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
    """Offer too much to eight nodes, and to one beside another tenant."""
    figures: list[Figure] = []
    shown = table("Eight nodes, one limit a second", "limit", "windows", "offered", "let pass",
                  "over", "under", "Redis calls ÷ requests")  # fmt: skip
    for limit in LIMITS:
        found = share_limit(limit, max(2, round(SECONDS * size)))
        calls = found.redis_calls / found.offered
        numbers = (found.limit, found.windows, found.offered, found.admitted, found.over)
        shown.add_row(*map(str, numbers), f"{found.under:.1%}", f"{calls:.4f}")
        figures += [
            Figure(f"{limit}/s on {NODES} nodes: over-admitted", found.over, "", most=0),
            Figure(f"{limit}/s on {NODES} nodes: under-admitted", found.under, "", most=UNDER),
        ]
    console.print(shown)
    ratio = crowd(max(1, round(FAIRNESS_ROUNDS * size)))
    what = f"p99 beside a tenant at {TIMES_OVER} times its limit ÷ alone"
    return [*figures, Figure(what, ratio, "", most=FAIRNESS)]


def share_limit(limit: int, seconds: int) -> Shared:
    """Offer six times *limit* a second to eight nodes for some seconds."""
    portion = limit * OFFERED / (SKEW + NODES - 1)
    with upstream() as origin, fleet(origin.port, limit) as (nodes, key):
        load = Load("/v1/chat/completions", chat_body(), HOST, key)
        counted = f"http://127.0.0.1:{origin.port}/count"
        client = nodes[0].client
        paces = [portion * (SKEW if number == 0 else 1) for number in range(NODES)]
        _wait_for_the_middle_of_a_second(client)
        before, calls = _requests(counted), _scripts(client)
        start = client.time()[0]
        offered = sum(_offer([node.settings.gateway.port for node in nodes], load, paces, seconds))
        end = client.time()[0]
        admitted = _requests(counted) - before - 1
        return Shared(limit, end - start + 1, offered, admitted, _scripts(client) - calls)


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
            stack.enter_context(_start(port, load, pace, seconds))
            for port, pace in zip(ports, paces, strict=True)
        ]
        return [_asked(process.communicate()[0]) for process in running]


def _asked(output: str) -> int:
    found = re.search(r"RESULT (\d+)", output)
    if not found:
        raise BenchError(f"wrk reported nothing:\n{output}")
    return int(found[1])


@contextmanager
def _start(port: int, load: Load, pace: float, seconds: float) -> Iterator["subprocess.Popen[str]"]:
    connections = max(1, min(200, round(pace / 4)))
    pause_ms = max(1, round(1000 * connections / pace))
    text = PACED.replace("{pause_ms}", str(pause_ms))
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(text.format(**dataclasses.asdict(load)))
        script.flush()
        command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout"]
        command += ["5s", "-s", script.name, f"http://127.0.0.1:{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            yield process


@contextmanager
def fleet(upstream_port: int, limit: int) -> Iterator[tuple[list[NginxServer], str]]:
    """Run eight nodes on one Redis whose only tenant has *limit* requests a second."""
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer())
        nodes = [
            NginxServer(server.url, environment={"YUMEN_GATEWAY_NODE": f"node-{number}"})
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
        body = chat_body()
        for node in nodes:
            until(functools.partial(_answers, node, key, body), "the node counts by Redis", 20)
        yield nodes, key


def _answers(node: NginxServer, key: str, body: str) -> bool:
    return node.call("POST", "/v1/chat/completions", HOST, key=key, data=body).ok


def limited(
    node: NginxServer, host: str, upstream_port: int, limit: int
) -> tuple[dict[str, dict[str, Any]], str]:
    """Return a tenant with a limit, and its key."""
    documents, key = tenant_documents(node, host, upstream_port)
    (tenant,) = documents["tenants"]
    return {**documents, "limits": {tenant: {"rules": [limit_rule(limit)]}}}, key


def crowd(rounds: int) -> float:
    """Return how much slower, at p99, a tenant is served beside one at ten times its limit."""
    ratios = []
    with upstream() as origin, RedisServer() as server:
        node = NginxServer(server.url)
        loads: list[Load] = []
        found: dict[str, dict[str, Any]] = {}
        for host, limit in ((HOST, FAIRNESS_LIMIT), (OTHER_HOST, 10**9)):
            made, key = limited(node, host, origin.port, limit)
            for section, known in made.items():
                found.setdefault(section, {}).update(known)
            loads.append(Load("/v1/chat/completions", chat_body(), host, key))
        node.documents = found
        port = node.settings.gateway.port
        crowding, quiet = loads
        with node:
            for _ in range(rounds):
                alone = _p99(port, quiet)
                pace = FAIRNESS_LIMIT * TIMES_OVER
                with _start(port, crowding, pace, FAIRNESS_SECONDS + 1) as process:
                    ratios.append(_p99(port, quiet) / alone)
                    if _asked(process.communicate()[0]) < FAIRNESS_SECONDS * pace / 2:
                        raise BenchError("wrk did not offer what it should.")
    console.print(f"p99 beside a crowd ÷ alone: {', '.join(f'{each:.2f}' for each in ratios)}")
    return statistics.median(ratios)


def _p99(port: int, load: Load) -> float:
    """Return the milliseconds in which 99 % of calls got their first byte."""
    client = Client(port, load)
    times = []
    for _ in range(FAIRNESS_SECONDS * ASKED_A_SECOND):
        times.append(client.first_byte())
        time.sleep(max(0.0, 1 / ASKED_A_SECOND - times[-1] / 1000))
    client.connection.close()
    return percentile(times, 0.99)
