"""What conditions of degradation rules may say, and what is told of those that are not sound."""

import subprocess
import sys

import pytest

from control_plane.resilience import conditions
from control_plane.resilience.conditions import ConditionError

METRICS: conditions.Metrics = {
    "errorRate": 61.2,
    "p50": 1.0,
    "p95": 0.0,
    "p99": 3.0,
    "rate": 2.0,
    "concurrency": 4,
    "breaker": "open",
    "nodeLoad": 50.0,
}

SOUND = {
    "errorRate > 50": True,
    "errorRate > 50 && rate > 2.5": False,
    'errorRate > 90 || breaker == "open"': True,
    "errorRate > 90 || breaker != 'open'": False,
    '!(breaker in ["closed", "half-open"])': True,
    "p99 > p50 * 2.0": True,
    "p99 - 2.5 < p50 + .5": True,
    "-rate < -1e0": True,
    "rate in [1.0, 2.0]": True,
    "rate > 1 ? concurrency >= 4 : errorRate == 0": True,
    "rate > 1\n  // by hand\n  && nodeLoad <= 50": True,
    "p50 / p95 > 1e300": True,
    "-p50 / p95 < -1e300": True,
    "p95 / p95 == p95 / p95": False,
    "!!(rate > 1)": True,
    "true": True,
    "rate > 1 == true": True,
}


@pytest.mark.parametrize(("text", "answer"), SOUND.items())
def test_a_sound_condition_holds_or_does_not(text: str, answer: bool) -> None:
    assert conditions.parse(text).holds(METRICS) is answer


def test_a_condition_knows_what_it_names() -> None:
    found = conditions.parse("rate > 1 && (errorRate > 2 || rate > 3)")
    assert found.names == ("errorRate", "rate")


ALLOWED = "Conditions are made of errorRate, p50, p95"
KNOWN = "there are errorRate, p50, p95, p99, rate, concurrency, breaker, nodeLoad."
UNSOUND = {
    "": ((1, 1), ALLOWED),
    "errorRate >": ((1, 11), ALLOWED),
    "rate = 1": ((1, 6), ALLOWED),
    "rate > 1 and p95 > 1": ((1, 10), ALLOWED),
    "rate > 1\n  && foo > 1": ((2, 6), f"There is no metric foo; {KNOWN}"),
    'errorRate > "open"': ((1, 13), "Must be int or double; this is string."),
    'breaker == "opened"': ((1, 12), "A breaker is never 'opened'; it is closed, half-open, open."),
    "breaker == 1": ((1, 12), "Must be string; this is int."),
    'breaker < "open"': ((1, 1), "Only numbers are less or more than others."),
    "rate": ((1, 1), "Must be true or false; this is a double."),
    "rate > 1 || errorRate": ((1, 13), "Must be bool; this is double."),
    "!rate": ((1, 2), "Must be bool; this is double."),
    "-(rate > 1)": ((1, 3), "Must be int or double; this is bool."),
    "rate > 1 ? true : rate": ((1, 19), "Must be bool; this is double."),
    "errorRate + 1 > 2": ((1, 13), "Numbers to reckon with need a point: write 2.0, not 2."),
    "rate > 1e999": ((1, 8), "This number is too large."),
    "breaker in []": ((1, 12), "The list is empty."),
    "breaker in [1]": ((1, 12), "Must be list of string; this is list of int."),
    'breaker in ["open", 1]': ((1, 21), "Must be string; this is int."),
    "[1] == [1]": ((1, 1), "A list stands only after `in`."),
    "rate == null": ((1, 9), ALLOWED),
    "rate > 1u": ((1, 8), ALLOWED),
    "rate % 2.0 > 1.0": ((1, 1), ALLOWED),
    "rate.x > 1": ((1, 1), ALLOWED),
    "size('open') > 1": ((1, 1), ALLOWED),
    "[1.0, 2.0].exists(x, x > rate)": ((1, 1), ALLOWED),
    '{"a": 1}.a == 1': ((1, 1), ALLOWED),
    " " * 500 + "1": ((1, 501), "A condition has at most 500 characters."),
}


@pytest.mark.parametrize(("text", "told"), UNSOUND.items())
def test_a_fault_is_told_with_its_place(text: str, told: tuple[tuple[int, int], str]) -> None:
    (line, column), problem = told
    with pytest.raises(ConditionError) as error:
        conditions.parse(text)
    place, _, rest = str(error.value).partition(": ")
    assert (place, problem in rest) == (f"Line {line}, column {column}", True), str(error.value)


def outcome(text: str) -> str:
    try:
        return str(conditions.parse(text).holds(METRICS))
    except ConditionError as error:
        return str(error)


def test_depth_is_no_way_to_harm() -> None:
    refused = "Line 1, column 1: It is nested too deeply: use fewer parentheses."
    assert outcome("!" * 60 + "(rate > 1)") == outcome("(" * 60 + "rate>1" + ")" * 60) == "True"
    for text in ("!" * 488 + "(rate > 1)", "(" * 245 + "rate>1" + ")" * 245):
        assert outcome(text) in ("True", refused)


def test_who_has_no_conditions_does_not_load_the_library() -> None:
    code = "import sys, control_plane.worker; assert 'celpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
