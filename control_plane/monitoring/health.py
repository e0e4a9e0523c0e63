"""By what a part or a service is healthy, degraded or down. Pure."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from control_plane.core.heartbeats import Heartbeat
from control_plane.monitoring.breaking import CLOSED, OPEN, BreakerState
from control_plane.monitoring.nodes import NodeReport, Peer
from control_plane.monitoring.readings import Reading

HEALTHY: Final = "healthy"
DEGRADED: Final = "degraded"
DOWN: Final = "down"
STATUSES = (HEALTHY, DEGRADED, DOWN)
PARTS = ("gatewayNode", "shipper", "worker", "redis", "database")
"""Kinds of what the installation itself is made of."""
KINDS = (*PARTS, "model", "upstream")

FAILING_PERCENT = 5.0
"""Of the calls, those that failed in the last seconds: from here on a service is degraded."""
BROKEN_PERCENT = 90.0
BROKEN_RATE = 0.5
"""Calls a second: with fewer, even if all fail, it is degraded only."""
BUSY_PERCENT = 95.0
SCARCE_PERCENT = 5.0
"""Of a node's memory for the configuration, what is free."""
FULL_PERCENT = 90.0
"""Of what Redis may use, what it does."""
SLOW_SECONDS = 1.0
"""For the database to answer."""
_NAMED = 3
_SEVERITY: dict[str | None, int] = {HEALTHY: 0, None: 1, DEGRADED: 2, DOWN: 3}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong: `detail` is for those only whose service it is. Without a status: unknown."""

    status: str | None
    what: str
    detail: str = ""

    def told(self, in_detail: bool) -> str:
        """Return it as a text."""
        return f"{self.what}: {self.detail}" if in_detail and self.detail else self.what


@dataclass(frozen=True, slots=True)
class Health:
    """How a part of the installation or a service does; `status` is None when nobody knows."""

    id: str
    service_name: str
    kind: str
    status: str | None
    reason: str | None
    last_checked: datetime.datetime
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Breaker:
    """A breaker of a service; `is_wide` is whether it is about all of its calls that are seen."""

    state: BreakerState
    is_wide: bool


def verdict(findings: Iterable[Finding], in_detail: bool = True) -> tuple[str | None, str | None]:
    """Return the worst status of what was found, and the reasons, the worst first."""
    ordered = sorted(findings, key=lambda each: -_SEVERITY[each.status])
    if not ordered:
        return HEALTHY, None
    return ordered[0].status, "; ".join(each.told(in_detail) for each in ordered)


def of_service(
    reading: Reading | None, breakers: Iterable[Breaker], seen: Sequence[Sequence[Peer]]
) -> list[Finding]:
    """Return what is wrong with a service.

    *seen* is its checked addresses as each node sees them.
    """
    found = [
        Finding(
            DOWN if breaker.is_wide and breaker.state.status == OPEN else DEGRADED,
            f"a circuit breaker is {breaker.state.status}",
            breaker.state.reason or "",
        )
        for breaker in breakers
        if breaker.state.status != CLOSED
    ]
    return [*found, *_of_peers(seen), *(_of_calls(reading) if reading else ())]


def _of_peers(seen: Sequence[Sequence[Peer]]) -> list[Finding]:
    peers = [peer for of_node in seen for peer in of_node]
    ill = {peer.address: peer.reason for peer in peers if not peer.healthy}
    if not ill:
        return []
    is_down = not any(peer.healthy for peer in peers)
    named = [f"{address} ({reason})" for address, reason in sorted(ill.items())]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    detail = f"{len(ill)} of {len({peer.address for peer in peers})}, "
    detail += ", ".join(named[:_NAMED]) + more
    return [Finding(DOWN if is_down else DEGRADED, "targets do not work", detail)]


def count_peers(seen: Sequence[Sequence[Peer]]) -> dict[str, float]:
    """Return how many addresses there are, and how many of them no node finds ill."""
    addresses = {peer.address for of_node in seen for peer in of_node}
    ill = {peer.address for of_node in seen for peer in of_node if not peer.healthy}
    return {"targets": len(addresses), "healthyTargets": len(addresses - ill)}


def _of_calls(reading: Reading) -> list[Finding]:
    if reading.error_rate < FAILING_PERCENT:
        return []
    is_down = reading.error_rate >= BROKEN_PERCENT and reading.rate >= BROKEN_RATE
    detail = f"{reading.error_rate:.1f} % of {reading.rate:.1f} a second"
    return [Finding(DOWN if is_down else DEGRADED, "calls fail", detail)]


def of_node(report: NodeReport, load: float | None) -> list[Finding]:
    """Return what is wrong with a gateway node."""
    if not report.is_heard:
        return [Finding(DOWN, f"silent for {report.silent_seconds:.0f} s")]
    if not report.status:
        return [Finding(DEGRADED, "its report cannot be read")]
    found = []
    if refusals := report.status["refusals"]:
        named = ", ".join(f"{each['section']}/{each['id']}" for each in refusals[:_NAMED])
        found.append(Finding(DEGRADED, "refuses documents", named))
    size, free = report.status["memory_bytes"], report.status["memory_free_bytes"]
    if size and free is not None and 100 * free < SCARCE_PERCENT * size:
        found.append(Finding(DEGRADED, "its memory for the configuration is nearly full"))
    if load is not None and load >= BUSY_PERCENT:
        found.append(Finding(DEGRADED, f"a worker of it is on the CPU {load:.0f} % of its time"))
    return found


def of_worker(heard: Sequence[Heartbeat]) -> list[Finding]:
    """Return what is wrong with the workers: one is enough, and does not need another."""
    alive = [each for each in heard if each.is_alive]
    if not alive:
        return [Finding(DOWN, "no worker is heard")]
    failing = sorted({name for each in alive for name in each.failing})
    return [Finding(DEGRADED, "does not work now", ", ".join(failing))] if failing else []


def of_shipper(heard: Heartbeat | None) -> list[Finding]:
    """Return what is wrong with the shipper of a gateway node."""
    if heard is None:
        return [Finding(DOWN, "never heard")]
    if not heard.is_alive:
        return [Finding(DOWN, f"silent for {heard.silent_seconds:.0f} s")]
    return []


def of_redis(memory: Mapping[str, int]) -> list[Finding]:
    """Return what is wrong with a Redis that answers, by its INFO of memory."""
    most = memory.get("maxmemory", 0)
    if most and 100 * memory["used_memory"] >= FULL_PERCENT * most:
        return [Finding(DEGRADED, "its memory is nearly full")]
    return []


def of_database(seconds: float) -> list[Finding]:
    """Return what is wrong with a database that took so long to answer."""
    return [Finding(DEGRADED, f"took {seconds:.1f} s to answer")] if seconds > SLOW_SECONDS else []
