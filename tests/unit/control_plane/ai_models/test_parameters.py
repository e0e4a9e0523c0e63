"""Parameters: what may be one, and the text the gateway splices."""

import json

import pytest

from control_plane.ai_models import parameters


@pytest.mark.parametrize(
    "name",
    [
        "stream",
        "STREAM",
        "\u017ftream",
        "stream_options",
        "Stream_Options",
        "ｓｔｒｅａｍ",
        "Model",
        "MODEL",
        "Max_To\u212aens",
        "",
        "a\x00b",
        "a\nb",
        "\ud800",
        "x" * 129,
    ],
)
def test_a_name_that_the_gateway_polices_is_refused(name: str) -> None:
    assert set(parameters.problems({name: "x"})) == {name}


@pytest.mark.parametrize(
    "value",
    [
        float("inf"),
        float("nan"),
        [1, {"a": float("-inf")}],
        "a\x00",
        {"a": ["\udfff"]},
        {"\x00": 1},
    ],
)
def test_a_value_that_json_cannot_carry_is_refused(value: object) -> None:
    assert set(parameters.problems({"x": value})) == {"x"}


def test_nesting_and_size_are_bounded() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert "nested" in parameters.problems({"x": deep})["x"]
    assert "longer" in parameters.problems({"x": "y" * 20000})["x"]


def test_model_must_be_a_string() -> None:
    assert parameters.problems({"model": 1}) == {"model": "must be a string"}
    assert parameters.problems({"model": ""}) == {"model": "must be a string"}
    assert parameters.problems({"model": "gpt-4o", "max_tokens": 5, "top_p": 0.5}) == {}


def test_each_value_becomes_its_own_json_text() -> None:
    values = {"n": 1234567890123456789, "stop": [], "t": 0.1, "s": "玉/门\t", "o": {"a": None}}
    assert parameters.raw(values) == {
        "n": "1234567890123456789",
        "stop": "[]",
        "t": "0.1",
        "s": '"玉/门\\t"',
        "o": '{"a":null}',
    }
    assert {name: json.loads(text) for name, text in parameters.raw(values).items()} == values
