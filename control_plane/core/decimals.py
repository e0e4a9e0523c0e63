"""Decimals on the wire: strings both ways, so that no reader makes a float of money."""

import re
from decimal import Context, Decimal
from typing import Any

from marshmallow import ValidationError, fields

_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,12})?", re.ASCII)
_EXACT = Context(prec=100)


def decimal_text(value: Decimal) -> str:
    """Return *value* as the contract writes decimals: no exponent, no needless zeros."""
    # Python's default context would round to 28 digits.
    return format(value.normalize(_EXACT), "f")


class DecimalString(fields.Field[Decimal]):
    """A decimal of up to 12 places as a string such as "0.015"; a JSON number is refused."""

    def __init__(self, *, maximum: str, **options: Any) -> None:
        metadata = {"type": "string", "pattern": f"^{_DECIMAL.pattern}$", "example": "0.015"}
        super().__init__(metadata=metadata | options.pop("metadata", {}), **options)
        self._maximum = Decimal(maximum)

    def _serialize(self, value: Decimal | None, *_: Any, **__: Any) -> str | None:
        return None if value is None else decimal_text(value)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Decimal:
        if not isinstance(value, str):
            raise ValidationError('Must be a decimal in a string, such as "0.015".')
        if not _DECIMAL.fullmatch(value):
            raise ValidationError("Must be digits with at most 12 after the point.")
        number = Decimal(value)
        if number > self._maximum:
            raise ValidationError(f"Must be at most {decimal_text(self._maximum)}.")
        return number
