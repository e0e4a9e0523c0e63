"""Looks each second how services do, and says which degradation rules are in force.

What is in force stands in Redis: the signal that gateways obey, and the report that the API shows.
So a worker that takes over goes on where the last one stopped; only what is pending or clearing
begins again. Two workers that both believe to lead do no harm: they publish the same, or one undoes
for a second what the other did.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import redis
import structlog
from sqlalchemy.exc import OperationalError

from control_plane.contract import keys
from control_plane.core import clock
from control_plane.core.database import Database
from control_plane.core.leader import Leader
from control_plane.core.redis import connect
from control_plane.core.settings import Settings
from control_plane.core.signals import Signal, Signals
from control_plane.monitoring import Readings
from control_plane.resilience import lifecycle, reports, watching
from control_plane.resilience.conditions import Metrics
from control_plane.resilience.lifecycle import INACTIVE, State
from control_plane.resilience.reports import Report
from control_plane.resilience.watching import Services, Watched

EVERY_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 3.0
"""From the first reading, which knows no rates yet, until rules are decided by readings."""
_RENEWED_BELOW: Final = 0.8
"""A signal that has less than this share of its time left is published again."""
_KIND: Final = "degradation"
_WORKER: Final = "worker"
_MOST_EVENTS: Final = 10_000
_TIMEOUT_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """What Redis says, at `now` by its clock: the signals and the reports that stand."""

    now: int
    standing: Mapping[str, Signal]
    told: Mapping[str, Report]

    def ends(self, rule: Watched) -> int:
        """Return until when a rule is in force, 0 when it is not."""
        report = self.told.get(rule.id)
        if report is None or report.version != rule.version:
            return 0
        if rule.dry_run:
            return report.until
        signal = self.standing.get(rule.id)
        return 0 if signal is None else signal.until


def run_evaluator(settings: Settings, stop: threading.Event) -> None:
    """Look at the rules each second, in the one worker that leads, until *stop*."""
    database, client = Database(settings), connect(settings, socket_timeout=_TIMEOUT_SECONDS)
    leader = Leader(settings, database, "degradations")
    evaluator = Evaluator(client)
    watched: Sequence[Watched] = ()
    leads, trouble = False, set[str]()
    try:
        while not stop.wait(EVERY_SECONDS):
            try:
                leads = leader.holds()
                watched = watching.load(database) if leads else ()
            except OperationalError as error:
                # Who led goes on with the rules that he knows: services may ail just now.
                _warn_once(trouble, error)
            try:
                if leads:
                    evaluator.look(watched)
                    trouble.clear()
            except redis.RedisError as error:
                _warn_once(trouble, error)
    finally:
        leader.release()
        client.close()
        database.close()


class Evaluator:
    """Remembers how long conditions have held; `look` is to be called about once a second."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._signals = Signals(client, _WORKER)
        self._readings = Readings(client)
        self._began: float | None = None
        self._looked = 0.0
        self._states: dict[tuple[str, int], State] = {}
        """By the rule's id and version: a changed rule begins anew."""

    def look(self, watched: Sequence[Watched]) -> None:
        """Decide which of *watched* are in force, say so, and end all that are not.

        Raises:
            redis.RedisError: Redis is away.
        """
        moment = clock.monotonic()
        if self._began is None or moment - self._looked > lifecycle.GAP_SECONDS:
            self._readings, self._began = Readings(self._client), moment
            self._states = {}
        services = Services(self._readings.read())
        known = _Known(
            reports.milliseconds(self._client),
            self._signals.read(_KIND),
            reports.read(self._client),
        )
        self._looked = moment
        is_informed = services.are_heard and moment - self._began >= SETTLE_SECONDS
        after = {}
        in_force: dict[str, Report] = {}
        for rule in watched:
            key = rule.id, rule.version
            before = self._states.get(key) or State(active=known.ends(rule) > known.now)
            if is_informed:
                metrics = services.metrics(rule.service)
                holds, is_over = rule.holds(metrics), rule.is_over(metrics)
                after[key] = lifecycle.look(before, holds, is_over, moment, rule.pace)
                if after[key].active:
                    in_force[rule.id] = self._keep(rule, before.active, metrics, known)
            elif before.active and known.ends(rule) > known.now:
                # Nobody tells how services do: nothing begins, and what is in force may run out.
                after[key], in_force[rule.id] = before, known.told[rule.id]
            else:
                after[key] = INACTIVE
        self._end(known, in_force, {rule.id for rule in watched if not rule.dry_run})
        self._states = after

    def _keep(self, rule: Watched, was_active: bool, metrics: Metrics, known: _Known) -> Report:
        """Say that a rule is in force, if that was not said a moment ago."""
        report = known.told.get(rule.id)
        if not was_active or report is None or report.version != rule.version:
            report = Report(rule.version, known.now, 0, rule.reason(metrics))
        until = known.ends(rule)
        if until - known.now < _RENEWED_BELOW * 1000 * rule.ttl_seconds:
            until = known.now + 1000 * rule.ttl_seconds
            if not rule.dry_run:
                signal = self._signals.publish(_KIND, rule.id, {}, rule.ttl_seconds)
                until = signal.until if signal is not None else until
        if not was_active:
            self._record(rule.id, "active", report.reason, known.now, name=rule.name)
        return replace(report, until=until)

    def _end(self, known: _Known, in_force: Mapping[str, Report], obeyed: Collection[str]) -> None:
        """End what is not in force, or not to be obeyed, and bring the reports up to date."""
        for rule_id in known.standing:
            if rule_id not in in_force or rule_id not in obeyed:
                self._signals.end(_KIND, rule_id)
        changed = {id_: each for id_, each in in_force.items() if known.told.get(id_) != each}
        gone = [rule_id for rule_id in known.told if rule_id not in in_force]
        reports.write(self._client, changed, gone)
        for rule_id in gone:
            self._record(rule_id, "ended", "", known.now)

    def _record(self, rule_id: str, status: str, reason: str, at: int, **more: str) -> None:
        """Leave a trace of what happened to a rule: in the log, and beside what nodes tell."""
        log.info("degradation_changed", rule=rule_id, status=status, reason=reason, **more)
        event: dict[str, str | int] = {
            "node": _WORKER,
            "kind": _KIND,
            "id": rule_id,
            "status": status,
            "reason": reason,
            "by": _WORKER,
            "at": at,
        }
        self._client.xadd(keys.NODE_EVENTS, event, maxlen=_MOST_EVENTS)  # type: ignore[arg-type]


def _warn_once(warned: set[str], error: Exception) -> None:
    if str(error) not in warned:
        warned.add(str(error))
        log.warning("degradations_wait", error=str(error))
