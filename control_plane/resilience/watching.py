"""The rules whose conditions are looked at, and what there is to look at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.monitoring import CLOSED, Reading
from control_plane.resilience import conditions
from control_plane.resilience.conditions import Condition, Metrics
from control_plane.resilience.lifecycle import Pace
from control_plane.resilience.models import DegradationRule

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Watched:
    """A rule whose condition is looked at."""

    id: str
    version: int
    name: str
    service: str
    condition: Condition
    clear_condition: Condition | None
    pace: Pace
    ttl_seconds: int
    dry_run: bool

    def holds(self, metrics: Metrics) -> bool:
        """Tell whether the rule should be in force."""
        return self.condition.holds(metrics)

    def is_over(self, metrics: Metrics) -> bool:
        """Tell whether the rule should end."""
        if self.condition.holds(metrics):
            return False
        return self.clear_condition is None or self.clear_condition.holds(metrics)

    def reason(self, metrics: Metrics) -> str:
        """Return why the rule came into force by *metrics*, for people."""
        found = ", ".join(f"{name} = {_shown(metrics[name])}" for name in self.condition.names)
        lasted = f" for {self.pace.for_seconds:g} s" if self.pace.for_seconds else ""
        return f"{found or 'Its condition always holds'}{lasted}"


def load(database: Database) -> list[Watched]:
    """Return the rules to look at, of the platform and of all tenants."""
    with tenancy.platform_context(), database.session(write=False) as session:
        return list(_enabled(session))


def _enabled(session: Session) -> Iterator[Watched]:
    rule = DegradationRule
    query = select(
        rule.id,
        rule.version,
        rule.name,
        rule.service,
        rule.condition,
        rule.clear_condition,
        rule.for_seconds,
        rule.clear_for_seconds,
        rule.ttl_seconds,
        rule.dry_run,
    ).where(rule.enabled)
    for (
        id_,
        version,
        name,
        service,
        condition,
        clear,
        lasts,
        clear_lasts,
        ttl,
        dry_run,
    ) in session.execute(query):
        try:
            yield Watched(
                id=str(id_),
                version=version,
                name=name,
                service=service,
                condition=conditions.parse(condition),
                clear_condition=None if clear is None else conditions.parse(clear),
                pace=Pace(lasts, clear_lasts),
                ttl_seconds=ttl,
                dry_run=dry_run,
            )
        except conditions.ConditionError as error:  # saved by another version of Yumen
            log.warning("degradation_condition_unsound", rule=str(id_), error=str(error))


class Services:
    """What conditions say of each service, by the readings of one moment."""

    def __init__(self, readings: Mapping[str, Reading]) -> None:
        self._readings = readings
        any_reading = next(iter(readings.values()), None)
        self.are_heard = any_reading is not None and any_reading.nodes > 0
        """Whether any node tells how services do."""
        load = any_reading.node_load if any_reading is not None else 0.0
        self._idle = Reading(0.0, 0.0, None, None, None, 0, CLOSED, load, 0)
        self._metrics: dict[str, Metrics] = {}

    def metrics(self, service: str) -> Metrics:
        """Return a value for each name that conditions have; one that was never called is idle."""
        if service not in self._metrics:
            self._metrics[service] = _metrics(self._readings.get(service, self._idle))
        return self._metrics[service]


def _metrics(reading: Reading) -> Metrics:
    return {
        "errorRate": reading.error_rate,
        # Nobody waited: as if nobody had waited long.
        "p50": reading.p50 or 0.0,
        "p95": reading.p95 or 0.0,
        "p99": reading.p99 or 0.0,
        "rate": reading.rate,
        "concurrency": reading.concurrency,
        "breaker": reading.breaker,
        "nodeLoad": reading.node_load,
    }


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
