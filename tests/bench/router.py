"""What finding a route costs at many hosts with many routes, beside few hosts.

A real gateway answers each request itself: the route that it takes denies the client's address, so
that nothing but finding tenant and route is measured. A tenant has ten hosts and twenty routes: by
path, by prefix, by pattern, by method and by header. The last but one takes the request.

What is asked for in turn lies in no cache: neither the CPU's nor, beyond what a worker keeps, the
gateway's own. That is measured apart from what the search itself costs.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.measure import Load, Result, run
from tests.bench.report import Figure, console, table
from tests.bench.servers import Server
from tests.gateway import NginxServer
from tests.route_documents import route_document
from tests.servers import RedisServer

GATEWAY_CORE, LOAD_CORE = 0, 1
ROUNDS, SECONDS = 5, 3
FEW, MANY = 10, 10_000
HOSTS_OF_A_TENANT, ROUTES = 10, 20
MOST = 1.05


def bench(size: float) -> list[Figure]:
    """Ask gateways with few and with many hosts in turn; return how much more the many cost."""
    many = max(FEW, round(MANY * size))
    with gateway(FEW) as few_server, gateway(many) as many_server:
        turns = {
            f"{FEW} hosts": (few_server, FEW),
            f"{many:,} hosts, {FEW} of them asked": (many_server, FEW),
            f"{many:,} hosts, each asked in turn": (many_server, many),
        }
        for server in (few_server, many_server):
            os.sched_setaffinity(server.worker, {GATEWAY_CORE})
        results = {name: Result() for name in turns}
        for server, hosts in turns.values():
            run(server.port, server.worker, load(hosts), SECONDS, LOAD_CORE)  # each was seen once
        for _ in range(max(1, round(ROUNDS * size))):
            for name, (server, hosts) in turns.items():
                rate, cpu = run(server.port, server.worker, load(hosts), SECONDS, LOAD_CORE)
                results[name].rates.append(rate)
                results[name].cpu_us.append(cpu)
        memory = {name: resident_mb(server.worker) for name, (server, _) in turns.items()}
    shown = table("Finding a route", "<hosts", "requests/s", "CPU µs/request", "memory")
    for name, result in results.items():
        shown.add_row(name, f"{result.rate:,.0f}", f"{result.cpu:.1f}", f"{memory[name]:.0f} MB")
    console.print(shown)
    few, asked_few, asked_all = results.values()
    what = f"router: CPU at {many:,} hosts x {ROUTES} routes"
    return [
        Figure(f"{what}, {FEW} of them asked, to that at {FEW}", asked_few.cpu / few.cpu, "x",
               most=MOST),
        Figure(f"{what}, each asked in turn, to that at {FEW}", asked_all.cpu / few.cpu, "x"),
    ]  # fmt: skip


def load(hosts: int) -> Load:
    """Return requests to each host in turn, which the gateway refuses."""
    return Load("/deep/down/below/5", "", HOST_PATTERN, "", hosts=hosts, expected=403)


HOST_PATTERN = "host-%d.test"


def routes(tenant: int) -> list[dict[str, Any]]:
    """Return a tenant's routes in the order in which they are asked."""
    upstream = str(uuid.uuid5(uuid.NAMESPACE_OID, f"upstream {tenant}"))

    def route(name: str, kind: str, value: str, **fields: Any) -> dict[str, Any]:
        path = {"kind": kind, "value": value}
        return route_document(f"{name} {tenant}", upstream, path, **fields)

    return [
        *(route(f"exact {n}", "exact", f"/exact/{n}") for n in range(6)),
        *(route(f"prefix {n}", "prefix", f"/deep/down/{n}") for n in range(8)),
        route("pattern", "regex", "/deep/down/[a-z]+/[0-9]+/end"),
        route("method", "prefix", "/deep/down", methods=["DELETE"]),
        route("header", "prefix", "/deep", headers=[{"name": "x-version", "value": "2"}]),
        route("domain", "prefix", "/deep", domains=["elsewhere.test"]),
        route("taken", "prefix", "/deep", denyAddresses=["127.0.0.0/8"]),
        route("rest", "prefix", "/"),
    ]


def documents(hosts: int) -> dict[str, dict[str, Any]]:
    """Return *hosts* hosts, ten of them each tenant's, and all their routes."""
    found: dict[str, dict[str, Any]] = {"hosts": {}, "tenants": {}, "routes": {}}
    for tenant in range(hosts // HOSTS_OF_A_TENANT):
        tenant_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"tenant {tenant}"))
        found["tenants"][tenant_id] = {"status": "active", "models": {}}
        found["routes"][tenant_id] = {"routes": routes(tenant)}
        for number in range(HOSTS_OF_A_TENANT):
            host = HOST_PATTERN % (tenant * HOSTS_OF_A_TENANT + number)
            found["hosts"][host] = {"tenant": tenant_id}
    return found


@contextmanager
def gateway(hosts: int) -> Iterator[Server]:
    """Run a gateway that serves *hosts* hosts."""
    environment = {"YUMEN_GATEWAY_CONFIG_MEMORY_MB": "128"}
    with (
        RedisServer() as redis,
        NginxServer(redis.url, documents(hosts), environment=environment) as node,
    ):
        yield Server(node.settings.gateway.port, node.workers()[0])


def resident_mb(pid: int) -> float:
    """Return the memory that a process has of its own, in megabytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
