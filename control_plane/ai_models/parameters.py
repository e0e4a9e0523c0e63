"""Parameters that a model or a tenant adds to requests: what may be one, and its raw JSON text.

The gateway puts the text of each value into the client's body as it stands and never encodes JSON
itself, so what is checked here is exactly what an upstream reads.
"""

import json
import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_BYTES = 16 * 1024
MAX_DEPTH = 16
MAX_NAME = 128

# Set by the gateway for each request, never by configuration.
GATEWAY_FIELDS = frozenset({"stream", "stream_options"})
# The gateway reads these; a name that only some JSON readers take for one of them is refused.
POLICED_FIELDS = GATEWAY_FIELDS | {
    "model",
    "messages",
    "prompt",
    "input",
    "n",
    "max_tokens",
    "max_completion_tokens",
}


def name_problem(name: str) -> str | None:
    """Return why *name* may not be a parameter, or None."""
    if not name or len(name) > MAX_NAME or not _sound_text(name):
        return f"must have 1 to {MAX_NAME} characters, none of them a control character"
    folded = unicodedata.normalize("NFKC", name).casefold()
    if folded in GATEWAY_FIELDS:
        return "is set by the gateway and cannot be a parameter"
    if folded in POLICED_FIELDS and name != folded:
        return f"must be written {folded}"
    return None


def problems(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return parameter name to what is wrong with it; an empty mapping when all are sound."""
    found = {
        name: problem
        for name, value in parameters.items()
        if (problem := name_problem(name) or _value_problem(name, value))
    }
    if not found and len(json.dumps(parameters)) > MAX_BYTES:
        found = {next(iter(parameters)): f"makes the parameters longer than {MAX_BYTES} bytes"}
    return found


def raw(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return each parameter's value as JSON text."""
    return {
        name: json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        for name, value in parameters.items()
    }


def _value_problem(name: str, value: Any) -> str | None:
    if name == "model" and not (isinstance(value, str) and value):
        return "must be a string"
    for depth, leaf in _leaves(value, 0):
        if depth > MAX_DEPTH:
            return f"must not be nested deeper than {MAX_DEPTH}"
        if isinstance(leaf, float) and not math.isfinite(leaf):
            return "must not hold a number that JSON cannot write"
        if isinstance(leaf, str) and not _sound_text(leaf, control=True):
            return "must not hold NUL or half of a surrogate pair"
    return None


def _leaves(value: Any, depth: int) -> Iterator[tuple[int, Any]]:
    """Yield every scalar and key within *value* with its depth, stopping below the limit."""
    inner: Sequence[Any] = ()
    if isinstance(value, Mapping):
        inner = (*value.keys(), *value.values())
    elif isinstance(value, list):
        inner = value
    else:
        yield depth, value
    if depth > MAX_DEPTH:
        yield depth, None
        return
    for each in inner:
        yield from _leaves(each, depth + 1)


def _sound_text(text: str, *, control: bool = False) -> bool:
    """Tell whether *text* can be stored and sent; *control* characters only where they may be."""
    if "\0" in text or any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        return False
    return control or not any(unicodedata.category(character) == "Cc" for character in text)
