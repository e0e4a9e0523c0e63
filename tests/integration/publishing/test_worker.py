"""The worker process: it publishes, runs jobs, outlives what it needs, and stops when told to."""

import datetime
import itertools
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from control_plane import tenants, worker
from control_plane.core import clock, migrations, tenancy
from control_plane.core.crypto import ensure_secrets
from control_plane.core.database import Database
from control_plane.core.plugins import Job
from control_plane.core.settings import Settings, load_settings
from tests import factories
from tests.integration.publishing.conftest import Configuration, suspend
from tests.servers import RedisServer
from tests.stack import until
from tests.worker_process import WorkerProcess


def test_the_worker_publishes_runs_jobs_and_stops_when_told_to(
    settings: Settings, database: Database, configuration: Configuration
) -> None:
    tenant = factories.make_tenant(database)
    overdue = factories.make_tenant(database)
    with tenancy.platform_context(), database.transaction() as session:
        before = clock.now() - datetime.timedelta(seconds=1)
        tenants.get_tenant(session, overdue.id).expiry_date = before

    def status(tenant_id: object) -> str | None:
        document = configuration.documents("tenants").get(str(tenant_id))
        return None if document is None else str(document["status"])

    with WorkerProcess(settings) as worker_process:
        until(lambda: status(tenant.id) == "active", "the tenant", 15)
        until(lambda: status(overdue.id) == "inactive", "the job that expires tenants", 15)
        suspend(database, tenant)
        until(lambda: status(tenant.id) == "suspended", "the change", 5)
        started = clock.monotonic()
        worker_process.process.send_signal(signal.SIGTERM)
        assert worker_process.process.wait(10) == 0
        assert clock.monotonic() - started < 6
        assert "worker_stopped" in worker_process.log.read_text()
        assert "Traceback" not in worker_process.log.read_text()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def test_the_worker_outlives_a_redis_that_is_killed(tmp_path: Path, own_redis: RedisServer) -> None:
    settings = load_settings(state=tmp_path, environ={"YUMEN_REDIS_URL": own_redis.url})
    ensure_secrets(settings)
    database = Database(settings)
    migrations.upgrade(database)
    tenant = factories.make_tenant(database)

    def published() -> bool:
        try:
            with redis.Redis.from_url(own_redis.url, retry=None) as client:
                return str(tenant.id) in Configuration(client).documents("tenants")
        except redis.RedisError:
            return False

    with WorkerProcess(settings) as worker_process:
        until(published, "the first publish", 15)
        own_redis.process.kill()
        own_redis.process.wait(10)
        own_redis.folder.joinpath("redis.sock").unlink(missing_ok=True)
        own_redis.__enter__()
        until(published, "everything again in the new Redis", 15)
        assert worker_process.process.poll() is None
    database.close()


def test_a_loop_that_fails_is_started_again_after_growing_pauses(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, began = threading.Event(), []

    def loop(_: Settings, stopped: threading.Event) -> None:
        began.append(clock.monotonic())
        if len(began) == 4:
            stopped.set()
            return
        raise redis.ConnectionError("away") if len(began) == 1 else RuntimeError("broken")

    with capture_logs() as logs:
        worker.keep_running("test", loop, settings, stop)
    assert [record["event"] for record in logs] == ["loop_waits", "loop_failed", "loop_failed"]
    pauses = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert pauses[0] < pauses[1] < pauses[2] < 1
    assert "test" in worker.failing()
    monkeypatch.setattr(clock, "monotonic", lambda: began[-1] + 6)
    assert "test" not in worker.failing()


def test_a_job_that_fails_does_not_stop_the_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    stop = threading.Event()

    def fail(_: object) -> None:
        ran.append("bad")
        raise RuntimeError("broken")

    def count(_: object) -> None:
        ran.append("good")
        if ran.count("good") == 2:
            stop.set()

    jobs = [Job("bad", 3600, fail), Job("good", 0.1, count)]
    monkeypatch.setattr(worker.plugins, "declared", lambda _: jobs)
    worker.run_jobs(settings, stop)
    assert ran == ["bad", "good", "good"]
