"""Whether a hundred thousand tenants and a million keys cost more than a thousand tenants.

Two installations run side by side, a small and a large one, and take changes in turn, so that what
else the machine does meets both. Then the large one loses what it can: Redis, and all but its file.
"""

import http.client
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from control_plane.gateway import nginx_binary
from control_plane.shipper.last_good_file import LastGoodFile
from tests.bench import measure
from tests.bench.installation import Installation, running
from tests.bench.population import KEYS_A_TENANT, equip, multiply, publish_anew
from tests.bench.propagation import Client, new_tenant, switch_tenant
from tests.bench.report import Figure, console, percentile, table
from tests.bench.workers import Workers
from tests.stack import until

TENANTS, FEW_TENANTS = 100_000, 1_000
CHANGES = 300
CHANGES_MEANWHILE = 100
BETWEEN_ROUNDS_SECONDS = 0.05
FIRST_TENANTS = 20
BOOTS = 3
MOST_RATIO = 1.2
MOST_BOOT_SECONDS = 3
SETTINGS = {
    "YUMEN_GATEWAY_CONFIG_MEMORY_MB": "1024",
    "YUMEN_SECURITY_ACCESS_TOKEN_MINUTES": "120",
}


@dataclass
class Size:
    """An installation and what was measured on it."""

    installation: Installation
    tenants: int
    first: list[Client]
    """Made before all others: whoever evicts takes these first."""
    times_ms: list[float] = field(default_factory=list)

    @property
    def keys(self) -> int:
        """How many keys its tenants have."""
        return self.tenants * KEYS_A_TENANT

    @property
    def last_good(self) -> Path:
        """The file of its gateway node."""
        return self.installation.settings.state / "gateway" / "last_good"

    @property
    def applied(self) -> tuple[int, int]:
        """Epoch and revision that its gateway node holds."""
        applied = self.installation.node()["applied"]
        return applied["epoch"], applied["revision"]


def bench(size: float) -> list[Figure]:
    """Fill both, change both, then let the large one start over, with and without Redis."""
    with ExitStack() as ends:
        small, large = (
            ends.enter_context(_filled(tenants))
            for tenants in (FEW_TENANTS, max(round(TENANTS * size), FEW_TENANTS))
        )
        figures = [*_change(small, large), *_hold(large), *_look_for_drift(large)]
        figures += [*_empty_redis(large), *_boot(large)]
    return figures


@contextmanager
def _filled(tenants: int) -> Iterator[Size]:
    with running("PostgreSQL", SETTINGS) as installation:
        with installation.workers() as workers:
            first = [new_tenant(installation, workers)[1] for _ in range(FIRST_TENANTS)]
        equip(installation, first[0])
        until(lambda: installation.node()["isCurrent"], "the node holds them", 60)
        filled = multiply(installation, first[0], tenants)
        published = publish_anew(installation)
        console.print(
            f"{tenants:,} tenants, {tenants * KEYS_A_TENANT:,} keys: rows in {filled:.0f} s, "
            f"published and taken in within {published:.0f} s"
        )
        yield Size(installation, tenants, first)


def _change(small: Size, large: Size) -> Iterator[Figure]:
    """Suspend and resume a tenant of each, in turn."""
    sizes = small, large
    for size in sizes:
        _wait_for_file(size)
    before = [_cpu_ms(size.installation) for size in sizes]
    with small.installation.workers() as few, large.installation.workers() as many:
        for number in range(CHANGES):
            pairs = (small, few), (large, many)
            for size, workers in pairs if number % 2 else pairs[::-1]:
                seconds = switch_tenant(size.installation, workers, size.first[0])
                size.times_ms.append(seconds * 1000)
    shown = table("One change, from COMMIT to the last worker", "tenants", "p50", "p99", "CPU")
    for size, start in zip(sizes, before, strict=True):
        times = [f"{percentile(size.times_ms, share):.1f} ms" for share in (0.5, 0.99)]
        cpu_ms = (_cpu_ms(size.installation) - start) / CHANGES
        shown.add_row(f"{size.tenants:,}", *times, f"{cpu_ms:.1f} ms")
    console.print(shown)
    ratio = percentile(large.times_ms, 0.5) / percentile(small.times_ms, 0.5)
    what = f"one change among {large.tenants:,} tenants, to one among {small.tenants:,} (p50)"
    yield Figure(what, ratio, "times", most=MOST_RATIO)


def _cpu_ms(installation: Installation) -> float:
    """Return what all processes have used, but those of PostgreSQL."""
    pids = installation.stack.ready["pids"]
    leaders = [pids[name] for name in ("redis", "worker", "shipper")]
    return sum(measure.cpu_seconds(pid) for pid in leaders + installation.worker_pids) * 1000


def _hold(large: Size) -> Iterator[Figure]:
    """Look at what the node keeps in memory and on disk."""
    node = large.installation.node()
    used = node["memoryBytes"] - node["memoryFreeBytes"]
    yield Figure("gateway memory a key, with a tenth of its tenant", used / large.keys, "bytes")
    refused = len(node["refusals"]) + node["moreRefusals"]
    yield Figure("documents that the node refused", refused, "", most=0)
    with large.installation.workers() as workers:
        yield Figure("of those who came first, pushed out", _lost(large, workers), "", most=0)
    _wait_for_file(large)
    console.print(f"the last-good file has {large.last_good.stat().st_size / 1e6:,.0f} MB")


def _lost(size: Size, workers: Workers) -> int:
    """Return how many of those who came first a worker does not serve."""
    statuses = [workers.statuses(client.host, client.key) for client in size.first[1:]]
    return sum(set(each.values()) != {200} for each in statuses)


def _wait_for_file(size: Size) -> None:
    until(lambda: LastGoodFile(size.last_good).revision == size.applied, "the file", 240)


def _look_for_drift(large: Size) -> Iterator[Figure]:
    """Change while a new worker compares everything with what is published."""
    revision = large.applied
    large.installation.restart_worker()
    with large.installation.workers() as workers:
        times_ms = [
            switch_tenant(large.installation, workers, large.first[0]) * 1000
            for _ in range(CHANGES_MEANWHILE)
        ]
    what = "a change while the worker compares everything, as after an upgrade (p50)"
    yield Figure(what, percentile(times_ms, 0.5), "ms")
    drifted = large.applied[1] - revision[1] - CHANGES_MEANWHILE
    if drifted:
        raise RuntimeError(f"{drifted} revisions were made of what did not differ")


def _empty_redis(large: Size) -> Iterator[Figure]:
    """Empty Redis while clients call: all is published and taken in again, and all are served."""
    with ThreadPoolExecutor() as pool, large.installation.workers() as workers:
        publishing = pool.submit(publish_anew, large.installation)
        times_ms, lost = [], 0
        while not publishing.done():
            start = time.perf_counter()
            lost += _lost(large, workers)
            times_ms.append((time.perf_counter() - start) * 1000)
            # The gateway closes a connection after 100,000 requests.
            time.sleep(BETWEEN_ROUNDS_SECONDS)
        seconds = publishing.result()
    yield Figure("Redis emptied: until the node holds all of the new epoch", seconds, "s")
    yield Figure("meanwhile: those who came first not served", lost, "", most=0)
    what = f"meanwhile: {len(large.first) - 1} clients served by each worker in turn (most)"
    yield Figure(what, max(times_ms), "ms")


def _boot(large: Size) -> Iterator[Figure]:
    """Start the gateway alone, without Redis and control plane, from its file."""
    _wait_for_file(large)
    large.installation.stack.stop()
    seconds = [_start(large.installation, large.first[1]) for _ in range(BOOTS)]
    console.print(f"boots: {', '.join(f'{each:.2f} s' for each in seconds)}")
    what = f"boot from last-good with {large.keys:,} keys to the first answer (most of {BOOTS})"
    yield Figure(what, max(seconds), "s", most=MOST_BOOT_SECONDS)


def _start(installation: Installation, client: Client) -> float:
    """Start nginx, ask until it answers a client, and end it; return the seconds to the answer."""
    prefix = installation.settings.state / "gateway"
    command = [nginx_binary(), "-p", str(prefix), "-c", "nginx.conf", "-e", "logs/error.log"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(lambda: _answers(installation.gateway_port, client), "the first answer", 60)
        return time.perf_counter() - start
    finally:
        process.terminate()
        process.wait(60)


def _answers(port: int, client: Client) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        headers = {"Host": client.host, "Authorization": f"Bearer {client.key}"}
        connection.request("GET", "/v1/models", headers=headers)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
