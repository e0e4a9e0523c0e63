"""What happened between two snapshots of a node, and what that makes of a service. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import add, sub
from typing import Any

from control_plane.contract.telemetry import BOUNDS_US, COUNTS, FAILURES, OUTCOMES, SUMS

Counts = tuple[int, ...]
"""Numbers of one service, in the order of the contract's COUNTS."""

_PLACE = {name: place for place, name in enumerate(COUNTS)}
_FAILURES = tuple(_PLACE[name] for name in FAILURES)
_DECIDED = (_PLACE["ok"], _PLACE["client_error"], *_FAILURES)
_CALLS = (*_DECIDED, _PLACE["aborted"])
_BUCKETS = len(OUTCOMES) + len(SUMS)
_EDGES_MS: tuple[float, ...] = tuple(bound / 1000 for bound in (0, *BOUNDS_US, BOUNDS_US[-1]))
_RANGES_MS = tuple(pairwise(_EDGES_MS))
"""What waits of each bucket lie between; those in the last one are said to be its beginning."""

NOTHING: Counts = (0,) * len(COUNTS)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a node has counted since `boot` (Unix microseconds), told at `seen_at` (its ms)."""

    boot: int
    seen_at: int
    busy: float
    counts: Mapping[str, Counts]
    in_flight: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Step:
    """What was counted of each service in some seconds that ended at `seen_at`."""

    seen_at: int
    seconds: float
    counts: Mapping[str, Counts]


def parse(text: bytes) -> Snapshot:
    """Return the snapshot that a node wrote.

    Read by hand, not by its schema: it may be ten thousand services, each second.

    Raises:
        ValueError: it is none of this contract.
    """
    try:
        said: dict[str, Any] = json.loads(text)
        services: dict[str, dict[str, Any]] = said["services"]
        snapshot = Snapshot(
            boot=said["boot"],
            seen_at=said["seenAt"],
            busy=said["busy"],
            counts={key: tuple(service["counts"]) for key, service in services.items()},
            in_flight={key: service["inFlight"] for key, service in services.items()},
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a snapshot of a node: {error!r}") from error
    if any(len(counts) != len(COUNTS) for counts in snapshot.counts.values()):
        raise ValueError(f"not a snapshot of a node: services have {len(COUNTS)} numbers")
    return snapshot


def step(before: Snapshot, after: Snapshot) -> Step | None:
    """Return what happened from *before* to *after*, None when they do not tell.

    After another boot everything that was counted happened since *before*. Numbers of a service
    that fell without one, because memory was lost, tell nothing.
    """
    seconds = (after.seen_at - before.seen_at) / 1000
    if seconds <= 0:
        return None
    base = before.counts if after.boot == before.boot else {}
    counts = {}
    for key, now in after.counts.items():
        then = base.get(key, NOTHING)
        if now != then and not any(new < old for new, old in zip(now, then, strict=True)):
            counts[key] = tuple(map(sub, now, then))
    return Step(after.seen_at, seconds, counts)


def total(one: Counts, other: Counts) -> Counts:
    """Return the sum of two counts."""
    return tuple(map(add, one, other))


def calls(counts: Counts) -> int:
    """Return how many calls went to the service."""
    return sum(counts[place] for place in _CALLS)


def error_rate(counts: Counts) -> float:
    """Return the percentage of failures by the service among its calls that were decided.

    Calls whose client left say nothing of it; without calls it is 0.
    """
    decided = sum(counts[place] for place in _DECIDED)
    return 100 * sum(counts[place] for place in _FAILURES) / decided if decided else 0.0


def quantiles(counts: Counts, shares: Sequence[float]) -> list[float | None]:
    """Return the milliseconds within which each share of the calls had their first byte.

    As exact as the buckets: in one, calls are taken to be evenly spread. None without calls.
    """
    buckets = counts[_BUCKETS:]
    waited = sum(buckets)
    return [_quantile(buckets, share * waited) if waited else None for share in shares]


def _quantile(buckets: Counts, rank: float) -> float:
    below = 0
    for number, (low, high) in zip(buckets, _RANGES_MS, strict=True):
        if number and below + number >= rank:
            return low + (high - low) * (rank - below) / number
        below += number
    return _EDGES_MS[-1]  # by a rounding error only
