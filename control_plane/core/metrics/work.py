"""What the worker tells: how its loops and jobs do, and the rooms' figures."""

from collections.abc import Iterator, Mapping, Sequence

import redis
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from control_plane.core import clock
from control_plane.core.figures import Family, Figures
from control_plane.core.metrics.families import counter, gauge, text_of
from control_plane.core.plugins import JobContext

JOB_RUNS = Family(
    "yumen_job_runs_total", "counter", ("job", "result"), "Runs of a job: ok or failed."
)
JOB_SUCCESS = Family(
    "yumen_job_last_success_timestamp_seconds",
    "gauge",
    ("job",),
    "When a job last ended well; told by the worker that leads.",
)
JOB_DURATION = Family(
    "yumen_job_last_duration_seconds", "gauge", ("job",), "How long a job took when it last ran."
)
LOOP_FAILURES = Family(
    "yumen_loop_failures_total",
    "counter",
    ("loop",),
    "How often a loop of the worker ended by an error and was started again.",
)
FIGURES_UP = Family(
    "yumen_figures_up",
    "gauge",
    ("group",),
    "1 where the figures of a group could be read; 0 leaves all of them out.",
)
FAMILIES = (JOB_RUNS, JOB_SUCCESS, JOB_DURATION, LOOP_FAILURES, FIGURES_UP)

_REGISTRY = CollectorRegistry()
_job_runs = counter(JOB_RUNS, _REGISTRY)
_job_success = gauge(JOB_SUCCESS, _REGISTRY)
_job_duration = gauge(JOB_DURATION, _REGISTRY)
_loop_failures = counter(LOOP_FAILURES, _REGISTRY)

log = structlog.get_logger(__name__)


def job_ended(name: str, seconds: float, *, ok: bool) -> None:
    """Note that a job of this worker ended after *seconds*."""
    for result in ("ok", "failed"):
        _job_runs.labels(name, result).inc((result == "ok") == ok)
    _job_duration.labels(name).set(seconds)
    if ok:
        _job_success.labels(name).set(clock.now().timestamp())


def count_loop_failure(name: str, failures: int = 1) -> None:
    """Note that a loop of this worker failed; 0 makes it known."""
    _loop_failures.labels(name).inc(failures)


def tell_of_worker(context: JobContext, groups: Sequence[Figures]) -> bytes:
    """Return the worker's metrics; *groups* are read now."""
    registry = CollectorRegistry()
    registry.register(_Reader(context, groups))
    return text_of(_REGISTRY) + text_of(registry)


class _Reader(Collector):
    def __init__(self, context: JobContext, groups: Sequence[Figures]) -> None:
        self._context = context
        self._groups = groups

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Say nothing in advance: that would read everything once more."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges of all groups that can be read."""
        up: dict[tuple[str, ...], float] = {}
        for group in self._groups:
            try:
                values = group.read(self._context)
            except (redis.RedisError, SQLAlchemyError) as error:
                log.warning("figures_not_read", group=group.name, error=str(error))
                up[(group.name,)] = 0
                continue
            up[(group.name,)] = 1
            for family in group.families:
                yield _gauge(family, values[family.name])
        yield _gauge(FIGURES_UP, up)


def _gauge(family: Family, values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    made = GaugeMetricFamily(family.name, family.meaning, labels=family.labels)
    for labels, number in values.items():
        made.add_metric(labels, number)
    return made
