"""How long it takes from a commit in the control plane until every gateway worker obeys it.

Measured by what clients see: over a connection to each worker `GET /v1/models` is asked again and
again, and a change is obeyed when the last worker answers by it. The clock starts right before the
COMMIT, so that the commit itself, the wake-up, the publisher, Redis and the gateway are all in it.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from sqlalchemy.orm import Session

from control_plane import identity, tenants
from control_plane.core.tenancy import platform_context
from control_plane.domains import service as domains
from control_plane.domains.models import Method
from tests.bench.installation import DATABASES, Installation, running
from tests.bench.report import Figure, console, percentile, table
from tests.bench.workers import Workers
from tests.faults.load import finish_load, start_load
from tests.stack import until

CHANGES = 200
RATE = 500
WARM_UP_SECONDS = 1.0
LOAD_SECONDS = 30
IDLE_MS, LOADED_MS = 100, 1000
_numbers = count(1)


@dataclass(frozen=True)
class Client:
    """Whom a tenant's client is to the gateway."""

    tenant: uuid.UUID
    host: str
    key: str

    @property
    def public_id(self) -> str:
        """The part of the key by which the gateway finds it."""
        return self.key.split("_")[2]


@dataclass
class Row:
    """What was measured on one database under one load."""

    change: str
    database: str
    load: str
    most_ms: float
    times_ms: list[float] = field(default_factory=list)

    def figure(self) -> Figure:
        """Return the 99th percentile beside its promise."""
        what = f"{self.change}, {self.database}, {self.load}: obeyed by all workers (p99)"
        return Figure(what, percentile(self.times_ms, 0.99), "ms", most=self.most_ms)


def bench(size: float) -> list[Figure]:
    """Suspend and resume a tenant, and make new ones, idle and under load, on both databases."""
    rows: list[Row] = []
    for name in DATABASES:
        with running(name) as installation:
            pids = installation.worker_pids
            with installation.workers() as workers:
                rows += _measure(installation, workers, name, round(CHANGES * size))
            if installation.worker_pids != pids:
                raise RuntimeError("nginx was reloaded: its workers are others by now")
    _show(rows)
    return [row.figure() for row in rows]


def _measure(
    installation: Installation, workers: Workers, name: str, changes: int
) -> Iterator[Row]:
    client = new_tenant(installation, workers)[1]

    def switch() -> float:
        return switch_tenant(installation, workers, client)

    def create() -> float:
        return new_tenant(installation, workers)[0]

    for change, run in (("tenant suspended or resumed", switch), ("new tenant", create)):
        row = Row(change, name, "idle", IDLE_MS)
        row.times_ms += [run() * 1000 for _ in range(changes)]
        yield row
        row = Row(change, name, f"{RATE} calls/s", LOADED_MS)
        with _load(installation, LOAD_SECONDS) as is_loaded:
            while is_loaded() and len(row.times_ms) < changes:
                row.times_ms.append(run() * 1000)
        yield row


def switch_tenant(installation: Installation, workers: Workers, client: Client) -> float:
    """Suspend the tenant if it is served, or else resume it; return how long that took."""
    served = 200 in workers.statuses(client.host, client.key).values()
    with platform_context(), installation.database.session() as session:
        if served:
            tenants.suspend_tenant(session, client.tenant, reason="bench")
        else:
            tenants.activate_tenant(session, client.tenant)
        return _commit(session) + workers.time_to(403 if served else 200, client.host, client.key)


def new_tenant(installation: Installation, workers: Workers) -> tuple[float, Client]:
    """Make a tenant with a domain and a key, whom no worker knows; return how long that took."""
    host = f"bench-{next(_numbers)}.test"
    with platform_context(), installation.database.session() as session:
        tenant = tenants.create_tenant(session, name=host)
        domain = domains.add_domain(session, tenant.id, domain_name=host, is_primary=True)
        domains.verify_domain(session, domain, Method.MANUAL)
        made = identity.create_api_key(session, tenant.id, name="bench")
        client = Client(tenant.id, host, made.text)
        if set(workers.statuses(host, client.key).values()) != {404}:
            raise RuntimeError(f"{host} was served before it was committed")
        return _commit(session) + workers.time_to(200, host, client.key), client


def _commit(session: Session) -> float:
    start = time.perf_counter()
    session.commit()
    return time.perf_counter() - start


@contextmanager
def _load(installation: Installation, seconds: float) -> Iterator[Callable[[], bool]]:
    """Call the demo model at a fixed rate; give a question whether that still goes on."""
    load = start_load(installation.stack, RATE, seconds, f"bench-{uuid.uuid4().hex[:8]}")
    begun = time.monotonic()
    until(lambda: time.monotonic() - begun > WARM_UP_SECONDS, "load is under way")
    yield lambda: load.poll() is None
    answers = finish_load(load, seconds)
    console.print(
        f"meanwhile {len(answers['complete']):,} of {len(answers['sent']):,} calls served"
    )


def _show(rows: list[Row]) -> None:
    columns = ("changes", "p50", "p99", "most")
    shown = table(
        "From COMMIT to the last gateway worker obeying, as clients of each worker see it",
        *("<change", "<database", "<load", *columns),
    )
    for row in rows:
        times = (percentile(row.times_ms, share) for share in (0.5, 0.99, 1.0))
        shown.add_row(
            row.change,
            row.database,
            row.load,
            str(len(row.times_ms)),
            *(f"{value:.1f} ms" for value in times),
        )
    console.print(shown)
