"""How fast a client lists many tenants by pages through the REST API, on both databases."""

import json
import time

import requests

from control_plane import tenants
from control_plane.core.tenancy import platform_context
from tests.bench.installation import DATABASES, Installation, running
from tests.bench.report import Figure, console, percentile, table

TENANTS = 10_000
PAGE = 100
A_TRANSACTION = 500
MOST_PAGE_MS = 250


def bench(size: float) -> list[Figure]:
    """List them all, page by page; every tenant must come exactly once."""
    columns = ("tenants", "all pages", "p50", "p99")
    shown = table(f"GET /api/tenants by pages of {PAGE}", "<database", *columns)
    figures = []
    for name in DATABASES:
        with running(name) as installation:
            expected = _fill(installation, round(TENANTS * size))
            times_ms, ids = _list(installation)
        if len(ids) != len(set(ids)) or set(ids) != expected:
            raise RuntimeError(f"{len(ids)} tenants were listed, {len(expected)} exist")
        p50, p99 = (percentile(times_ms, share) for share in (0.5, 0.99))
        seconds = f"{sum(times_ms) / 1000:.2f} s"
        shown.add_row(name, f"{len(ids):,}", seconds, f"{p50:.1f} ms", f"{p99:.1f} ms")
        what = f"{len(ids):,} tenants, {name}: a page of {PAGE} (p99)"
        figures.append(Figure(what, p99, "ms", most=MOST_PAGE_MS))
    console.print(shown)
    return figures


def _fill(installation: Installation, number: int) -> set[str]:
    """Make tenants; return the ids of all there are."""
    ids = {tenant["id"] for tenant in installation.stack.api("GET", "/api/tenants")}
    for first in range(0, number, A_TRANSACTION):
        with platform_context(), installation.database.transaction() as session:
            for each in range(first, min(first + A_TRANSACTION, number)):
                ids.add(str(tenants.create_tenant(session, name=f"Tenant {each}").id))
    return ids


def _list(installation: Installation) -> tuple[list[float], list[str]]:
    """Return the milliseconds of each page, and the ids that came."""
    times_ms: list[float] = []
    ids: list[str] = []
    with requests.Session() as client:
        client.headers["Authorization"] = f"Bearer {installation.stack.token}"
        url = f"{installation.stack.ready['admin']}/api/tenants"
        page, pages = 1, 1
        while page <= pages:
            start = time.perf_counter()
            answer = client.get(url, params={"page": page, "pageSize": PAGE}, timeout=10)
            times_ms.append((time.perf_counter() - start) * 1000)
            answer.raise_for_status()
            ids += [tenant["id"] for tenant in answer.json()]
            page, pages = page + 1, json.loads(answer.headers["X-Pagination"])["totalPages"]
    return times_ms, ids
