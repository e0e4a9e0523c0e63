"""What forms of routes and upstreams are made of."""

import math
import re
from collections.abc import Sequence
from typing import Any

from marshmallow import ValidationError, fields, validate

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_OURS = frozenset({"content-length", "x-request-id"})
RESERVED_IN_REQUESTS = (
    HOP_BY_HOP
    | _OURS
    | {
        "expect",
        "forwarded",
        "host",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-real-ip",
    }
)
RESERVED_IN_ANSWERS = HOP_BY_HOP | _OURS | {"retry-after", "ratelimit", "ratelimit-policy"}
_OUR_PREFIX = "x-yumen-"

HEADER_NAME = validate.Regexp(
    r"[A-Za-z0-9_-]{1,64}\Z", error="Must be 1 to 64 of A-Z, a-z, 0-9, - and _."
)
HEADER_VALUE = validate.Regexp(
    r"([\x21-\x7e]([\x20-\x7e]{0,1022}[\x21-\x7e])?)?\Z",
    error="Must be up to 1024 visible ASCII characters, without spaces around them.",
)
NAME = validate.Regexp(
    r"(?!\s)[^\x00-\x1f\x7f/]+(?<!\s)\Z",
    error="Must have no /, no control characters and no spaces around it.",
)


class Seconds(fields.Float):
    """A number of seconds, such as 0.5."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise ValidationError("Must be a number of seconds.")
        return super()._deserialize(value, attr, data, **kwargs)


def each_once(values: Sequence[Any]) -> None:
    """Refuse a list that names something twice."""
    if len({str(value) for value in values}) < len(values):
        raise ValidationError("Must name each once.")


def names_problem(names: Sequence[str], reserved: frozenset[str]) -> str | None:
    """Return what is wrong with names of headers: the gateway sets one, or two are the same."""
    seen: set[str] = set()
    for name in names:
        lower = name.lower()
        if lower in reserved or (reserved and lower.startswith(_OUR_PREFIX)):
            return f"{name} is the gateway's own: leave it out."
        if lower in seen:
            return f"Must name {name} once: case does not matter in headers."
        seen.add(lower)
    return None


def path_problem(path: str) -> str | None:
    """Return why no request can have *path*, decoded as the gateway compares it."""
    if not path.startswith("/"):
        return "must begin with /"
    if re.search(r"[\x00-\x20\x7f?#%\\]", path):
        return "must stand as decoded, without spaces, control characters and ? # % \\"
    if "//" in path:
        return "must not have //, which gateways take for /"
    if any(part in (".", "..") for part in path.split("/")):
        return "must not have . or .. as a part"
    return None
