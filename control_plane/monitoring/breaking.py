"""What state a breaker is in, by what the nodes say of it. Pure."""

import datetime
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half-open"

_STATUSES = {"closed": CLOSED, "open": OPEN, "halfOpen": HALF_OPEN}
_BY_FLEET: dict[str | None, int] = {HALF_OPEN: 2, OPEN: 1, CLOSED: 0}
"""One node tries for all, so the others say that it is open meanwhile."""
_BY_HARM: dict[str | None, int] = {OPEN: 2, HALF_OPEN: 1, CLOSED: 0}


@dataclass(frozen=True, slots=True)
class BreakerState:
    """What state a breaker is in, since when, and why.

    `status` is None when nobody knows; `since` is None when it always was so, or nobody knows.
    """

    status: str | None
    since: datetime.datetime | None
    reason: str | None


UNTOUCHED = BreakerState(CLOSED, None, None)
"""Of a breaker that nothing has happened to for an hour."""

FORCED = BreakerState(OPEN, None, "Its mode is forcedOpen.")
"""Nodes say nothing of one that is opened by hand: they count nothing."""

DISABLED = BreakerState(CLOSED, None, "Its mode is disabled.")


def parse(text: bytes) -> dict[str, BreakerState]:
    """Return the breakers of a node that it wrote about, by id.

    Raises:
        ValueError: that is not what a node writes.
    """
    try:
        said: dict[str, dict[str, Any]] = json.loads(text)
        return {id_: _state(**state) for id_, state in said.items()}
    except (AttributeError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"not the breakers of a node: {error!r}") from error


def _state(*, status: str, since: float, reason: str, **_: Any) -> BreakerState:
    moment = datetime.datetime.fromtimestamp(since / 1000, datetime.UTC)
    return BreakerState(_STATUSES[status], moment, reason or None)


def merge(said: Iterable[BreakerState]) -> BreakerState:
    """Return the state of a breaker by what each node says of it.

    It is being tried when one node tries; else open when it is open at one. Of the nodes that say
    so, the one that changed last tells since when and why.
    """
    best = UNTOUCHED
    for state in said:
        if _age(state) > _age(best):
            best = state
    return best


def _age(state: BreakerState) -> tuple[int, float]:
    return _BY_FLEET[state.status], state.since.timestamp() if state.since else -1.0


def by_mode(mode: str, state: BreakerState) -> BreakerState:
    """Return the state of a breaker of that *mode*, of which the nodes say *state*."""
    if mode == "auto":
        return state
    return FORCED if mode == "forcedOpen" else DISABLED


def worst(statuses: Iterable[str | None]) -> str:
    """Return the status that keeps the most calls from a service, closed if there is none."""
    return max(statuses, key=_BY_HARM.__getitem__, default=CLOSED) or CLOSED
