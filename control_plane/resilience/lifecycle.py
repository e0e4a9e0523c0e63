"""When a degradation rule comes into force, and when it ends, by what its condition was. Pure."""

from dataclasses import dataclass, replace
from typing import Final

GAP_SECONDS: Final = 5.0
"""Looks further apart than this say nothing of the time between them."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a condition must hold before the rule is in force, and be over before it ends."""

    for_seconds: float
    clear_for_seconds: float


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a rule: whether it is in force, and since when something speaks against it.

    `turning` is when its condition began to hold, or to be over, as long as that has not lasted
    long enough to matter: the rule is then pending, or clearing. Moments are seconds of any clock
    that never runs backwards.
    """

    active: bool = False
    turning: float | None = None
    looked: float | None = None


INACTIVE: Final = State()


def look(state: State, holds: bool, is_over: bool, moment: float, pace: Pace) -> State:
    """Return the state after a look at *moment*, when the condition held, or was over.

    Between the two, when it neither holds nor is over, a rule stays what it is.
    """
    if state.looked is not None and moment - state.looked > GAP_SECONDS:
        state = replace(state, turning=None)
    if not (is_over if state.active else holds):
        return State(state.active, None, moment)
    since = moment if state.turning is None else state.turning
    needed = pace.clear_for_seconds if state.active else pace.for_seconds
    if moment - since < needed:
        return State(state.active, since, moment)
    return State(not state.active, None, moment)
