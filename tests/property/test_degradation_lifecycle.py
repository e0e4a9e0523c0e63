"""When degradation rules come into force and end: against what may be said of any sequence."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from control_plane.resilience import lifecycle
from control_plane.resilience.lifecycle import GAP_SECONDS, INACTIVE, Pace, State

Look = tuple[float, bool, bool]
"""Seconds since the last one, whether the condition held, whether it was over."""

STEPS = st.sampled_from([0.25, 1.0, 1.0, 1.0, 2.5, 4.75, 5.0, 5.25, 30.0])
HELD = st.sampled_from([(True, False), (False, False), (False, True)])
LOOKS = st.lists(
    st.tuples(STEPS, HELD).map(lambda each: (each[0], *each[1])), min_size=1, max_size=60
)
PACES = st.builds(Pace, st.integers(0, 12), st.integers(0, 12))


def states_of(looks: list[Look], pace: Pace) -> list[tuple[float, State]]:
    moment, state, found = 0.0, INACTIVE, []
    for seconds, holds, is_over in looks:
        moment += seconds
        state = lifecycle.look(state, holds, is_over, moment, pace)
        found.append((moment, state))
    return found


@given(LOOKS, PACES)
def test_a_rule_turns_when_and_only_when_that_lasted(looks: list[Look], pace: Pace) -> None:
    """Judged anew at each look by looking back, where the machine looks forward."""
    active, turned = False, -1
    for index, (moment, state) in enumerate(states_of(looks, pace)):
        needed = pace.clear_for_seconds if active else pace.for_seconds
        lasted = None
        at = moment
        for back in range(index, turned, -1):
            seconds, holds, is_over = looks[back]
            if not (is_over if active else holds):
                break
            lasted = moment - at
            if seconds > GAP_SECONDS:
                break
            at -= seconds
        turns = lasted is not None and lasted >= needed
        if turns:
            active, turned = not active, index
        assert state.active is active, (index, lasted, needed)


@given(LOOKS, PACES)
def test_what_neither_holds_nor_is_over_changes_nothing(looks: list[Look], pace: Pace) -> None:
    moment, state = states_of(looks, pace)[-1]
    for seconds in (1.0, 4.0, 40.0):
        after = lifecycle.look(state, False, False, moment + seconds, pace)
        assert (after.active, after.turning) == (state.active, None)


@given(LOOKS, PACES)
def test_turns_are_apart_by_what_must_last(looks: list[Look], pace: Pace) -> None:
    found = states_of(looks, pace)
    turns = [
        (moment, state.active)
        for (_, before), (moment, state) in zip([(0.0, INACTIVE), *found], found, strict=False)
        if before.active != state.active
    ]
    for (one, _), (other, active) in itertools.pairwise(turns):
        assert other - one >= (pace.for_seconds if active else pace.clear_for_seconds)
