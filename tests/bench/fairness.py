"""How much a tenant that asks for ten times its limit costs another one, on the same node.

The quiet tenant asks at a steady pace, alone and beside the crowd in turn, and each pair is
compared by itself: what else the machine does meets both alike. The median of the pairs counts.
"""

import os
import statistics
import time
from typing import Any

from tests.bench.documents import chat_body
from tests.bench.limits import HOST, limited
from tests.bench.measure import BenchError, Client, Load, asked, paced
from tests.bench.report import Figure, console, percentile
from tests.bench.servers import upstream
from tests.gateway import NginxServer
from tests.servers import RedisServer

GATEWAY_CORE, LOAD_CORE = 0, 1
OTHER_HOST = "other.bench.test"
LIMIT, TIMES_OVER = 100, 10
PAIRS, SECONDS, CROWD_SECONDS = 16, 1.5, 2
ASKED_A_SECOND = 200
MOST = 1.3


def bench(size: float) -> list[Figure]:
    """Return how much slower, at p99, a tenant is served beside one at ten times its limit."""
    with upstream() as origin, RedisServer() as server:
        os.sched_setaffinity(origin.worker, {LOAD_CORE})
        node = NginxServer(server.url)
        node.documents, (crowding, quiet) = tenants(node, origin.port)
        with node:
            os.sched_setaffinity(node.workers()[0], {GATEWAY_CORE})
            ratios = [
                compare(node.settings.gateway.port, crowding, quiet, crowd_first=number % 2 == 1)
                for number in range(max(2, round(PAIRS * size)))
            ]
    console.print(f"p99 beside a crowd ÷ alone: {', '.join(f'{each:.2f}' for each in ratios)}")
    what = f"p99 beside a tenant at {TIMES_OVER} times its limit ÷ alone, median of pairs"
    return [Figure(what, statistics.median(ratios), "", most=MOST)]


def tenants(
    node: NginxServer, upstream_port: int
) -> tuple[dict[str, dict[str, Any]], tuple[Load, Load]]:
    """Return two tenants, and the calls of each: the crowd's and the quiet one's."""
    documents: dict[str, dict[str, Any]] = {}
    loads = []
    for host, limit in ((HOST, LIMIT), (OTHER_HOST, 10**9)):
        made, key = limited(node, host, upstream_port, limit)
        for section, known in made.items():
            documents.setdefault(section, {}).update(known)
        loads.append(Load("/v1/chat/completions", chat_body(), host, key))
    return documents, (loads[0], loads[1])


def compare(port: int, crowding: Load, quiet: Load, *, crowd_first: bool) -> float:
    """Ask alone and beside the crowd; return the ratio of the p99 of both."""
    if crowd_first:
        beside, alone = beside_crowd(port, crowding, quiet), p99(port, quiet)
    else:
        alone, beside = p99(port, quiet), beside_crowd(port, crowding, quiet)
    return beside / alone


def beside_crowd(port: int, crowding: Load, quiet: Load) -> float:
    """Return the p99 of the quiet tenant while the other one is refused most of what it asks."""
    pace = LIMIT * TIMES_OVER
    with paced(port, crowding, pace, CROWD_SECONDS) as process:
        time.sleep((CROWD_SECONDS - SECONDS) / 2)
        found = p99(port, quiet)
        if asked(process) < CROWD_SECONDS * pace / 2:
            raise BenchError("wrk did not offer what it should.")
    return found


def p99(port: int, load: Load) -> float:
    """Return the milliseconds in which 99 % of calls got their first byte."""
    client = Client(port, load)
    times = []
    for _ in range(round(SECONDS * ASKED_A_SECOND)):
        times.append(client.first_byte())
        time.sleep(max(0.0, 1 / ASKED_A_SECOND - times[-1] / 1000))
    client.connection.close()
    return percentile(times, 0.99)
