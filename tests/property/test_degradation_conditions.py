"""What our conditions decide is what cel-python's own evaluator decides."""

from typing import Any

import celpy
from celpy import celtypes
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.resilience import conditions
from control_plane.resilience.conditions import BREAKER_STATES, METRICS

NUMBERS = [name for name, type_ in METRICS.items() if type_ == "double"]
SOME = st.sampled_from([0.0, 0.5, 1.0, 2.0, 50.0, 99.5, 1e6])
METRIC_VALUES = st.fixed_dictionaries(
    dict.fromkeys(NUMBERS, SOME) | {"breaker": st.sampled_from(BREAKER_STATES)}
)
ENVIRONMENT = celpy.Environment()

doubles = st.recursive(
    st.sampled_from(NUMBERS) | SOME.map(repr),
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(
            lambda each: f"({each[0]} {each[1]} {each[2]})"
        )
        | inner.map(lambda each: f"(-{each})" if not each.startswith("-") else each)
    ),
    max_leaves=4,
)
comparisons = st.tuples(doubles, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), doubles).map(
    " ".join
)
states = st.tuples(st.sampled_from(["==", "!="]), st.sampled_from(BREAKER_STATES)).map(
    lambda each: f'breaker {each[0]} "{each[1]}"'
)
lists = st.lists(st.sampled_from(BREAKER_STATES), min_size=1, max_size=3).map(
    lambda each: f"breaker in {list(each)}"
)
sound = st.recursive(
    comparisons | states | lists | st.sampled_from(["true", "false"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["&&", "||", "=="]), inner).map(
            lambda each: f"({each[0]}) {each[1]} ({each[2]})"
        )
        | inner.map(lambda each: f"!({each})")
        | st.tuples(inner, inner, inner).map(lambda each: "({}) ? ({}) : ({})".format(*each))
    ),
    max_leaves=5,
)


def by_library(text: str, metrics: dict[str, Any]) -> bool:
    values: dict[str, Any] = {
        name: celtypes.StringType(value) if isinstance(value, str) else celtypes.DoubleType(value)
        for name, value in metrics.items()
    }
    program = ENVIRONMENT.program(ENVIRONMENT.compile(text))
    return bool(program.evaluate(values))


@settings(max_examples=150)
@given(sound, METRIC_VALUES)
def test_a_condition_holds_when_the_library_says_so(text: str, metrics: dict[str, Any]) -> None:
    if len(text) <= conditions.LONGEST:
        assert conditions.parse(text).holds(metrics) is by_library(text, metrics), text
