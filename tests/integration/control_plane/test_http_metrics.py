"""What the control plane tells Prometheus, as gunicorn serves it with two processes."""

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from control_plane.core.database import Database
from control_plane.core.settings import Settings, load_settings
from control_plane.launcher.plan import program
from control_plane.tenants.models import Tenant
from tests import factories
from tests.metrics import answers, read, refuse_wrong, value
from tests.stack import children, free_port, until


@pytest.fixture
def database_url() -> None:
    """SQLite alone: what is told does not depend on the database."""


@dataclass
class Served:
    """The control plane as gunicorn serves it."""

    process: subprocess.Popen[bytes]
    admin: str
    metrics: str

    def said(self, sample: str, **labels: str) -> float | None:
        return value(read(self.metrics), sample, **labels)


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    """The control plane with two processes, on the test's database and Redis."""
    admin, metrics = free_port(), free_port()
    environ = {
        "YUMEN_REDIS_URL": settings.redis_url,
        "YUMEN_DATABASE_URL": settings.database_url,
        "YUMEN_ADMIN_PORT": str(admin),
        "YUMEN_METRICS_ADMIN_PORT": str(metrics),
    }
    made = load_settings(state=settings.state, environ=environ)
    (made.state / "run").mkdir(exist_ok=True)
    with (made.state / "gunicorn.log").open("wb") as log:
        process = subprocess.Popen(
            list(program("control-plane", made, None).command),
            env=os.environ | environ | {"YUMEN_STATE": str(made.state)},
            stdout=log,
            stderr=log,
        )
    here = "http://127.0.0.1"
    found = Served(process, f"{here}:{admin}", f"{here}:{metrics}/metrics")
    try:
        until(lambda: answers(f"{found.admin}/livez"), "the control plane answers", 30)
        yield found
    finally:
        process.terminate()
        process.wait(20)


def test_requests_are_told_as_documented_and_only_on_the_private_port(
    served: Served, database: Database, tenant: Tenant
) -> None:
    user = factories.make_user(database, tenant)
    tried = {"username": user.username, "password": "wrong-wrong-wrong"}
    for _ in range(20):
        assert requests.get(f"{served.admin}/readyz", timeout=5).ok
    answer = requests.post(f"{served.admin}/api/auth/login", json=tried, timeout=10)
    assert answer.status_code == 401
    typed = f"{served.admin}/api/{user.username}?token=typed-by-somebody"
    assert requests.request("BREW", typed, timeout=5).status_code in {404, 405}
    ready = {"method": "GET", "route": "/readyz"}
    text = read(served.metrics)
    assert value(text, "yumen_http_requests_total", status="2xx", **ready) == 20
    assert value(text, "yumen_http_request_duration_seconds_count", **ready) == 20
    login = {"method": "POST", "route": "/api/auth/login", "status": "4xx"}
    assert value(text, "yumen_http_requests_total", **login) == 1
    assert value(text, "yumen_http_requests_in_flight") == 0
    assert value(text, "yumen_database_pool_connections") == 10
    secrets = {
        "who signs in": user.username,
        "an e-mail address": "@",
        "what was typed": "typed-by-somebody",
        "a tenant's name": tenant.name,
    }
    refuse_wrong(text, "control-plane-metrics", secrets)
    port = served.metrics.split(":")[2].split("/")[0]
    for headers in ({}, {"Host": f"127.0.0.1:{port}"}, {"X-Forwarded-Port": port}):
        answer = requests.get(f"{served.admin}/metrics", headers=headers, timeout=5)
        assert answer.status_code == 404
        assert "yumen_" not in answer.text
    private = served.metrics.removesuffix("/metrics")
    for path in ("/", "/livez", "/api/auth/login", "/metrics/x"):
        assert requests.get(private + path, timeout=5).status_code == 404
    assert requests.post(served.metrics, timeout=5).status_code == 404


def test_what_a_killed_process_counted_stays_and_its_levels_go(served: Served) -> None:
    for _ in range(10):
        assert requests.get(f"{served.admin}/readyz", timeout=5).ok
    before = served.said("yumen_http_requests_total", method="GET", route="/readyz", status="2xx")
    old = children(served.process.pid)
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    until(
        lambda: len(set(children(served.process.pid)) - set(old)) == 2,
        "two new processes",
        15,
    )
    until(lambda: answers(f"{served.admin}/livez"), "the control plane answers", 30)
    until(lambda: served.said("yumen_database_pool_connections") == 10, "levels of two", 10)
    after = served.said("yumen_http_requests_total", method="GET", route="/readyz", status="2xx")
    assert before == after == 10
