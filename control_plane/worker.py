"""The worker process: publishes, runs jobs, takes usage in, sends mail, until told to stop."""

import functools
import signal
import threading
from collections.abc import Callable

import click
import redis
import structlog
from sqlalchemy.exc import OperationalError

from control_plane import monitoring, resilience, usage
from control_plane.core import clock, logging, mail, metrics, occasions, outbox, plugins
from control_plane.core.commands import on_installation
from control_plane.core.database import Database
from control_plane.core.figures import Figures
from control_plane.core.leader import Leader
from control_plane.core.occasions import Occasion
from control_plane.core.plugins import Job, JobContext
from control_plane.core.redis import connect
from control_plane.core.settings import Settings
from control_plane.publishing import run_publisher

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
AWAY_PAUSE_SECONDS = 0.25
_JOBS_POLL_SECONDS = 0.5
_TIMEOUT_SECONDS = 10.0
_FAILING_SECONDS = 5.0
_FIGURES_SECONDS = 2.0

Loop = Callable[[Settings, threading.Event], None]

log = structlog.get_logger(__name__)

_failed: dict[str, float] = {}
"""When each loop of this process failed last."""


def run_worker(settings: Settings) -> None:
    """Run all loops until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    loops: dict[str, Loop] = {
        "publisher": run_publisher,
        "jobs": run_jobs,
        "usage": usage.run_consumer,
        "mail": mail.run_sender,
        "summing up": functools.partial(monitoring.run_summing_up, failing),
        "degradations": resilience.run_evaluator,
        "metrics": run_metrics,
    }
    threads = [
        threading.Thread(target=keep_running, args=(name, loop, settings, stop), name=name)
        for name, loop in loops.items()
    ]
    for thread in threads:
        thread.start()
    log.info("worker_started", loops=list(loops))
    for thread in threads:
        thread.join()
    log.info("worker_stopped")


def keep_running(name: str, loop: Loop, settings: Settings, stop: threading.Event) -> None:
    """Run *loop*, and start it again when it fails, after pauses that grow while it keeps failing.

    A Redis or a database that is away is normal: the loop is tried again until it is back, and
    soon, because gateways wait for what was revoked meanwhile.
    """
    metrics.count_loop_failure(name, 0)
    pause = FIRST_PAUSE_SECONDS
    trouble = ""
    while not stop.is_set():
        started, longest = clock.monotonic(), LONGEST_PAUSE_SECONDS
        try:
            loop(settings, stop)
        except (redis.RedisError, OperationalError, OSError) as error:
            metrics.count_loop_failure(name)
            longest = AWAY_PAUSE_SECONDS
            if str(error) != trouble:
                log.warning("loop_waits", loop=name, error=str(error))
            trouble = str(error)
        except Exception:
            metrics.count_loop_failure(name)
            log.exception("loop_failed", loop=name, pause_seconds=pause)
        if not stop.is_set():
            _failed[name] = clock.monotonic()
        if clock.monotonic() - started > LONGEST_PAUSE_SECONDS:
            pause, trouble = FIRST_PAUSE_SECONDS, ""
        stop.wait(min(pause, longest))
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def failing() -> list[str]:
    """Return the loops that failed a moment ago: each is tried again within that time."""
    now = clock.monotonic()
    return [name for name, at in list(_failed.items()) if now - at < _FAILING_SECONDS]


def run_jobs(settings: Settings, stop: threading.Event) -> None:
    """Run the rooms' jobs at their intervals, in the one worker that leads."""
    database, client = Database(settings), connect(settings, socket_timeout=_TIMEOUT_SECONDS)
    leader = Leader(settings, database, "jobs")
    context = JobContext(settings=settings, database=database, redis=client)
    jobs: list[Job] = plugins.declared("yumen_jobs")
    due = dict.fromkeys((job.name for job in jobs), 0.0)
    try:
        while not stop.wait(_JOBS_POLL_SECONDS):
            if not leader.holds():
                continue
            for job in jobs:
                if clock.monotonic() >= due[job.name] and not stop.is_set():
                    due[job.name] = clock.monotonic() + job.every_seconds
                    _run_job(job, context)
    finally:
        leader.release()
        client.close()
        database.close()


def _run_job(job: Job, context: JobContext) -> None:
    began, ok = clock.monotonic(), True
    try:
        with occasions.during(Occasion(f"job {job.name}")):
            job.run(context)
    except Exception:
        ok = False
        log.exception("job_failed", job=job.name)
    metrics.job_ended(job.name, clock.monotonic() - began, ok=ok)


def run_metrics(settings: Settings, stop: threading.Event) -> None:
    """Tell Prometheus of this worker, and of what waits in the database and in Redis."""
    port = settings.metrics_port("worker")
    if port is None:
        stop.wait()
        return
    database, client = Database(settings), connect(settings, socket_timeout=_FIGURES_SECONDS)
    context = JobContext(settings=settings, database=database, redis=client)
    groups = figures()
    try:
        metrics.serve(
            settings.metrics.host, port, lambda: metrics.tell_of_worker(context, groups), stop
        )
    finally:
        client.close()
        database.close()


def figures() -> list[Figures]:
    """Return the groups of figures of `core` and of all rooms."""
    return [outbox.FIGURES, mail.FIGURES, *plugins.declared("yumen_figures")]


@click.command("worker")
@on_installation
def worker_command(settings: Settings) -> None:
    """Publish the configuration, take usage in, send mail and run the jobs."""
    logging.configure(settings)
    database = Database(settings)
    database.refuse_unsafe_start()
    database.close()
    run_worker(settings)
