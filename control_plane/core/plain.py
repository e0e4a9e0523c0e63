"""Turns our values into what JSON holds, always the same text for the same value."""

import datetime
import enum
import json
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

_AS_JSON: Mapping[type[Any], Callable[[Any], Any]] = {
    uuid.UUID: str,
    Decimal: str,
    datetime.datetime: lambda moment: moment.astimezone(datetime.UTC).isoformat(),
    datetime.date: datetime.date.isoformat,
    enum.Enum: lambda member: member.value,
    bytes: bytes.hex,
}


def plain(value: Any) -> Any:
    """Return *value* as JSON has it: ids, decimals and times become text."""
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    for kind, convert in _AS_JSON.items():
        if isinstance(value, kind):
            return convert(value)
    return value


def canonical(value: Any) -> str:
    """Return JSON in ASCII, without spaces, with its keys in order: the same on every machine."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
