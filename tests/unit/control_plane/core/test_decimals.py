"""Decimals on the wire."""

from decimal import Decimal
from typing import Any

import pytest
from marshmallow import ValidationError

from control_plane.core.decimals import DecimalString, decimal_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("0.010", "0.01"), ("0", "0"), ("100", "100"), ("1.000000000001", "1.000000000001")],
)
def test_a_decimal_string_is_kept_exactly(text: str, shown: str) -> None:
    loaded = DecimalString(maximum="1000").deserialize(text)
    assert (loaded, decimal_text(loaded)) == (Decimal(text), shown)


@pytest.mark.parametrize(
    "value",
    [
        0.01,
        1,
        True,
        ["1"],
        "",
        "1.",
        ".5",
        "-1",
        "+1",
        "1e3",
        "1_000",
        "NaN",
        "Infinity",
        "0x1",
        " 1",
        "1\n",
        "١",
        "0.0000000000001",
        "1000.000000000001",
        "9" * 21,
    ],
)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        DecimalString(maximum="1000").deserialize(value)


def test_no_exponent_is_ever_written() -> None:
    assert decimal_text(Decimal("1E+5")) == "100000"
    assert decimal_text(Decimal("1E-12")) == "0.000000000001"
