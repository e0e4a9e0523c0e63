"""What the worker tells Prometheus, as a process of its own."""

from collections.abc import Iterator

import pytest

from control_plane.core.database import Database
from control_plane.core.metrics.work import FIGURES_UP
from control_plane.core.settings import Settings
from tests import factories
from tests.metrics import answers, read, refuse_wrong, value
from tests.servers import RedisServer
from tests.stack import free_port, until
from tests.worker_process import WorkerProcess


@pytest.fixture
def worker(settings: Settings) -> Iterator[str]:
    """A worker; the URL of its metrics."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    with WorkerProcess(settings, metrics_port=port):
        until(lambda: answers(url), "the worker tells", 30)
        yield url


def test_the_worker_tells_what_waits_and_leaves_out_what_it_cannot_read(
    settings: Settings, database: Database, redis_server: RedisServer, worker: str
) -> None:
    tenant = factories.make_tenant(database)

    def settled() -> str:
        text = read(worker)
        ran = value(text, "yumen_job_runs_total", job="expire_tenants", result="ok")
        published = value(text, "yumen_published_revision") or 0
        current = value(text, "yumen_published_to_redis") == 1
        nothing_waits = value(text, "yumen_outbox_events") == 0
        return text if ran and published and current and nothing_waits else ""

    text = str(until(settled, "jobs ran and the tenant is published", 30))
    refuse_wrong(text, "worker-metrics", {"a tenant's name": tenant.name})
    assert value(text, "yumen_loop_failures_total", loop="usage") == 0
    assert value(text, "yumen_job_runs_total", job="expire_tenants", result="failed") == 0
    success = value(text, "yumen_job_last_success_timestamp_seconds", job="expire_tenants")
    assert success is not None
    assert success > 1.7e9
    for group in ("outbox", "mail", "publishing", "usage"):
        assert value(text, FIGURES_UP.name, group=group) == 1

    redis_server.kill()
    try:
        until(
            lambda: value(read(worker), FIGURES_UP.name, group="usage") == 0,
            "what Redis holds is left out",
            15,
        )
        text = read(worker)
        assert value(text, "yumen_usage_stream_entries") is None
        assert value(text, FIGURES_UP.name, group="outbox") == 1
        assert value(text, "yumen_outbox_events") is not None
        until(
            lambda: value(read(worker), "yumen_loop_failures_total", loop="publisher"),
            "the publisher waits for Redis",
            15,
        )
    finally:
        (redis_server.folder / "redis.sock").unlink(missing_ok=True)
        redis_server.start()
