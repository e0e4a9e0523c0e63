"""Arithmetic of snapshots: nothing is lost or negative, quantiles keep to their buckets."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from control_plane.contract.telemetry import BOUNDS_US, COUNTS, OUTCOMES
from control_plane.monitoring import counting
from control_plane.monitoring.counting import NOTHING, Counts, Snapshot
from tests.nodes import counts

SERVICES = ("model:a", "upstream:b")
NUMBERS = st.dictionaries(st.sampled_from(COUNTS), st.integers(0, 1000), max_size=5).map(
    lambda numbers: tuple(counts(**numbers))
)
STEPS = st.lists(
    st.tuples(st.dictionaries(st.sampled_from(SERVICES), NUMBERS), st.booleans()), max_size=5
)


@given(STEPS)
def test_steps_add_up_to_what_was_counted(steps: list[tuple[dict[str, Counts], bool]]) -> None:
    """Also when the node starts anew in between; what it had not told by then is lost with it."""
    boot, held = 1, dict.fromkeys(SERVICES, NOTHING)
    before = Snapshot(boot, 0, 0.0, dict(held), {})
    found, expected = dict(held), dict(held)
    for number, (added, is_new_boot) in enumerate(steps, 1):
        if is_new_boot:
            boot, held = boot + 1, {}
        for service, numbers in added.items():
            held[service] = counting.total(held.get(service, NOTHING), numbers)
            expected[service] = counting.total(expected[service], numbers)
        after = Snapshot(boot, number * 1000, 0.0, dict(held), {})
        step = counting.step(before, after)
        assert step is not None
        assert step.seconds == 1
        for service, numbers in step.counts.items():
            found[service] = counting.total(found[service], numbers)
        before = after
    assert found == expected


@given(NUMBERS, NUMBERS, st.integers(-5000, 5000))
def test_nothing_is_ever_negative(one: Counts, other: Counts, milliseconds: int) -> None:
    before = Snapshot(1, 0, 0.0, {"model:a": one}, {})
    after = Snapshot(1, milliseconds, 0.0, {"model:a": other}, {})
    step = counting.step(before, after)
    assert (step is None) == (milliseconds <= 0)
    if step is not None:
        assert all(number >= 0 for number in step.counts.get("model:a", NOTHING))
        has_fallen = any(new < old for old, new in zip(one, other, strict=True))
        assert ("model:a" in step.counts) == (one != other and not has_fallen)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=60))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(waits_us: list[int]) -> None:
    numbers = dict.fromkeys(range(1, len(BOUNDS_US) + 2), 0)
    for wait in waits_us:
        numbers[1 + sum(wait > bound for bound in BOUNDS_US)] += 1
    told = tuple(counts(**{f"bucket_{place}": number for place, number in numbers.items()}))
    shares = (0.01, 0.5, 0.95, 0.99, 1.0)
    found = counting.quantiles(told, shares)
    edges = (0, *BOUNDS_US, math.inf)
    for share, quantile in zip(shares, found, strict=True):
        true = sorted(waits_us)[math.ceil(share * len(waits_us) - 1e-9) - 1]
        low, high = next(pair for pair in pairwise(edges) if pair[0] < true <= pair[1])
        assert quantile is not None
        assert low <= quantile * 1000 * (1 + 1e-9)
        assert quantile * 1000 <= high * (1 + 1e-9)
    assert found == sorted(found, key=lambda quantile: quantile or 0)


@given(NUMBERS)
def test_an_error_rate_is_a_percentage_of_what_was_decided(numbers: Counts) -> None:
    by_name = dict(zip(COUNTS, numbers, strict=True))
    found = counting.error_rate(numbers)
    assert 0 <= found <= 100
    neutral = (*numbers[:6], 0, 0, *numbers[8:])
    assert OUTCOMES[6:] == ("aborted", "refused")
    assert counting.error_rate(neutral) == found, "what was not decided changes nothing"
    assert (found == 0) == (sum(by_name[name] for name in OUTCOMES[2:6]) == 0)


def test_without_calls_there_are_no_quantiles() -> None:
    assert counting.quantiles(NOTHING, (0.5, 0.99)) == [None, None]
    assert counting.error_rate(NOTHING) == 0
    assert counting.calls(NOTHING) == 0
