"""Stretches of a journal, against a set of places."""

from hypothesis import given
from hypothesis import strategies as st

from control_plane.contract.usage_stream import START, Position
from control_plane.usage.coverage import Stretches, cover, is_covered, reached

PLACES = [START, *(Position(segment, at) for segment in (1, 2) for at in range(256, 260))]
numbers = st.integers(0, len(PLACES) - 1)
stretches = st.lists(st.tuples(numbers, numbers).map(sorted), max_size=8)


@given(arrived=stretches)
def test_what_arrived_is_covered_whatever_the_order(arrived: list[list[int]]) -> None:
    covered: Stretches = []
    for first, last in arrived:
        covered = cover(covered, [(PLACES[first], PLACES[last])])
    together = cover([], [(PLACES[first], PLACES[last]) for first, last in arrived])
    assert covered == together

    known = {place for first, last in arrived for place in range(first, last)}
    for place in range(len(PLACES) - 1):
        assert is_covered(covered, PLACES[place], PLACES[place + 1]) == (place in known)
    end = 0
    while end in known:
        end += 1
    assert reached(covered) == PLACES[end]
