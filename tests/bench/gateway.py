"""Compares the gateway with bare nginx, side by side in one run.

Gateway and bare nginx have one worker on one core, the load, the upstream and Redis have the other.
CPU a request is the worker's own, as the kernel accounts it.
"""

import json
import os
import statistics
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.bench.measure import Client, Load, Result, run
from tests.bench.report import Figure, console, table
from tests.bench.servers import Server, bare, upstream
from tests.gateway import NginxServer, new_key
from tests.servers import RedisServer

GATEWAY_CORE, LOAD_CORE = 0, 1
ROUNDS, SECONDS = 5, 3
FLOOR, GOAL = 0.50, 0.60
FIRST_BYTE_MS = 0.3
FIRST_BYTE_REQUESTS = 400
HOST = "bench.test"

PARAMETERS = {"temperature": "0.7", "model": '"bench"'}


def bench(size: float) -> list[Figure]:
    """Load bare nginx and the gateway in turn; return what the gateway costs beside it."""
    with upstream() as origin, bare(origin.port) as plain, gateway(origin.port) as (ours, key):
        os.sched_setaffinity(origin.worker, {LOAD_CORE})
        for server in (plain, ours):
            os.sched_setaffinity(server.worker, {GATEWAY_CORE})
        body = chat_body()
        streamed = body[:-1] + ', "stream": true}'
        loads = {
            "AI call": Load("/v1/chat/completions", body, HOST, key),
            "stream": Load("/v1/completions", streamed, HOST, key),
        }
        servers = {"bare nginx": plain, "yumen": ours}
        results = compare(servers, loads, max(1, round(ROUNDS * size)))
        first = compare_first_byte(servers, loads["stream"])
    show(results, first)
    share = results["AI call", "bare nginx"].cpu / results["AI call", "yumen"].cpu
    added = first["yumen"] - first["bare nginx"]
    return [
        Figure(f"AI call: bare CPU ÷ ours (goal {GOAL:.2f})", share, "", least=FLOOR),
        Figure("stream: first byte, median, beyond bare", added, "ms", most=FIRST_BYTE_MS),
    ]


def chat_body() -> str:
    """Return a chat request of 1 KB."""
    messages = [
        {"role": "system", "content": "You are a helpful assistant. " + "s" * 300},
        {"role": "user", "content": "Hello there. " + "u" * 200},
        {"role": "assistant", "content": "Hi! " + "a" * 150},
        {"role": "user", "content": "Go on. " + "v" * 98},
    ]
    body = {"model": "bench", "messages": messages, "max_tokens": 256, "user": "user-1234"}
    return json.dumps(body)


@contextmanager
def gateway(upstream_port: int) -> Iterator[tuple[Server, str]]:
    """Run a gateway with every policy on; yield it and a key."""
    key_id, key = new_key()
    tenant, model = str(uuid.uuid4()), str(uuid.uuid4())
    with RedisServer() as redis:
        node = NginxServer(redis.url, environment={"YUMEN_JOURNAL_SEGMENT_MB": "64"})
        endpoint = {"scheme": "http", "host": "127.0.0.1", "port": upstream_port, "path": "/v1"}
        entry: dict[str, Any] = {
            "model": model,
            "parameters": {},
            "costMultiplier": "1",
            "maxCallsPerDay": None,
        }
        node.documents = {
            "hosts": {HOST: {"tenant": tenant}},
            "tenants": {tenant: {"status": "active", "models": {"bench": entry}}},
            "credentials": {key_id: node.credential(tenant, key)},
            "models": {
                model: {
                    "name": "bench",
                    "provider": "openai",
                    "isActive": True,
                    "costPerCall": "0.01",
                    "endpoint": endpoint,
                    "apiKey": node.keyring.seal("sk-bench", f"models/{model}"),
                    "parameters": PARAMETERS,
                    "enforcedParameters": [],
                }
            },
        }
        with node:
            yield Server(node.settings.gateway.port, node.workers()[0]), key


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
