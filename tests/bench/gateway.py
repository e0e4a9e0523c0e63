"""Compares the gateway with bare nginx, side by side in one run: AI calls and plain calls.

A call that is *guarded* is counted by a limit and watched by a breaker.

Gateway and bare nginx have one worker on one core, the load, the upstream and Redis have the other.
CPU a request is the worker's own, as the kernel accounts it.
"""

import os
import statistics
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.bench.documents import chat_body, limit_rule, tenant_documents
from tests.bench.measure import Client, Load, Result, run
from tests.bench.report import Figure, console, table
from tests.bench.servers import Server, bare, upstream
from tests.breakers import rule as breaker_rule
from tests.gateway import NginxServer
from tests.route_documents import route_document, upstream_document
from tests.servers import RedisServer
from tests.stack import until

GATEWAY_CORE, LOAD_CORE = 0, 1
ROUNDS, SECONDS = 5, 3
FLOOR, GOAL = 0.50, 0.60
PLAIN_FLOOR, PLAIN_GOAL = 0.70, 0.80
FIRST_BYTE_MS = 0.3
FIRST_BYTE_REQUESTS = 400
NEVER_REACHED = 10**6
HOST, GUARDED_HOST = "bench.test", "guarded.test"
PLAIN_PATH = "/plain/call"


def bench(size: float) -> list[Figure]:
    """Load bare nginx and the gateway in turn; return what the gateway costs beside it."""
    with upstream() as origin, bare(origin.port) as plain, gateway(origin.port) as running:
        ours, key, guarded_key = running
        os.sched_setaffinity(origin.worker, {LOAD_CORE})
        for server in (plain, ours):
            os.sched_setaffinity(server.worker, {GATEWAY_CORE})
        body = chat_body()
        streamed = body[:-1] + ', "stream": true}'
        loads = {
            "AI call": Load("/v1/chat/completions", body, HOST, key),
            "AI call, guarded": Load("/v1/chat/completions", body, GUARDED_HOST, guarded_key),
            "plain call, guarded": Load(PLAIN_PATH, body, GUARDED_HOST, guarded_key),
            "stream": Load("/v1/completions", streamed, HOST, key),
        }
        servers = {"bare nginx": plain, "yumen": ours}
        results = compare(servers, loads, max(1, round(ROUNDS * size)))
        first = compare_first_byte(servers, loads["stream"])
    show(results, first)
    share = {kind: bare_share(results, kind) for kind in loads}
    added = first["yumen"] - first["bare nginx"]
    what = "bare CPU ÷ ours"
    guarded = f"plain call with key, limit, breaker, usage: {what} (goal {PLAIN_GOAL:.2f})"
    return [
        Figure(f"AI call: {what} (goal {GOAL:.2f})", share["AI call"], "", least=FLOOR),
        Figure(f"AI call with limit, breaker: {what}", share["AI call, guarded"], "", least=FLOOR),
        Figure(guarded, share["plain call, guarded"], "", least=PLAIN_FLOOR),
        Figure("stream: first byte, median, beyond bare", added, "ms", most=FIRST_BYTE_MS),
    ]


def bare_share(results: dict[tuple[str, str], Result], kind: str) -> float:
    """Return the part of the gateway's CPU a request that bare nginx needs for it."""
    return results[kind, "bare nginx"].cpu / results[kind, "yumen"].cpu


@contextmanager
def gateway(upstream_port: int) -> Iterator[tuple[Server, str, str]]:
    """Run a gateway with every policy on; yield it, a key, and one whose calls are guarded."""
    with RedisServer() as redis:
        node = NginxServer(redis.url, environment={"YUMEN_JOURNAL_SEGMENT_MB": "64"})
        loose, key = tenant_documents(node, HOST, upstream_port)
        tight, guarded_key = tenant_documents(node, GUARDED_HOST, upstream_port)
        guard(tight, upstream_port)
        node.documents = {
            section: {**loose.get(section, {}), **documents} for section, documents in tight.items()
        }
        with node:
            until(
                lambda: node.call("POST", PLAIN_PATH, GUARDED_HOST, key=guarded_key, data="{}").ok,
                "the node counts by Redis",
                20,
            )
            yield Server(node.settings.gateway.port, node.workers()[0]), key, guarded_key


def guard(documents: dict[str, dict[str, Any]], upstream_port: int) -> None:
    """Give the tenant a route of its own, a limit, and breakers of both its services."""
    (tenant,), (model,) = documents["tenants"], documents["models"]
    service = str(uuid.uuid4())
    route = route_document("plain", service, "/plain", authentication=["key"])
    documents["routes"] = {tenant: {"routes": [route]}}
    documents["upstreams"] = {service: upstream_document(upstream_port)}
    # Open: a machine too busy for Redis to answer in time must not end the bench.
    rule = {**limit_rule(NEVER_REACHED), "onOutage": "open"}
    documents["limits"] = {tenant: {"rules": [rule]}}
    documents["breakers"] = {
        f"model:{model}": {"breakers": [breaker_rule()]},
        f"upstream:{service}": {"breakers": [breaker_rule()]},
    }


def compare(servers: dict[str, Server], loads: dict[str, Load], rounds: int) -> (
    dict[tuple[str, str], Result]
):  # fmt: skip
    """Load every server with every load, interleaved, so that noise meets all alike."""
    results = {(kind, name): Result() for kind in loads for name in servers}
    for _ in range(rounds):
        for kind, load in loads.items():
            for name, server in servers.items():
                rate, cpu = run(server.port, server.worker, load, SECONDS, LOAD_CORE)
                results[kind, name].rates.append(rate)
                results[kind, name].cpu_us.append(cpu)
    return results


def compare_first_byte(servers: dict[str, Server], load: Load) -> dict[str, float]:
    """Return the median milliseconds to a stream's first byte of each server, asked in turn."""
    clients = {name: Client(server.port, load) for name, server in servers.items()}
    times: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(FIRST_BYTE_REQUESTS):
        for name, client in clients.items():
            times[name].append(client.first_byte())
    return {name: statistics.median(measured) for name, measured in times.items()}


def show(results: dict[tuple[str, str], Result], first: dict[str, float]) -> None:
    """Print the table."""
    columns = ("requests/s", "CPU µs/request", "bare CPU ÷ CPU", "first byte")
    shown = table("Gateway and bare nginx, one core each in turn", "<load", "<server", *columns)
    for (kind, name), result in results.items():
        share = results[kind, "bare nginx"].cpu / result.cpu
        latency = f"{first[name]:.3f} ms" if kind == "stream" else ""
        shown.add_row(
            kind, name, f"{result.rate:,.0f}", f"{result.cpu:.1f}", f"{share:.2f}", latency
        )
    console.print(shown)
