"""Brings a domain name that somebody typed into the one form that the gateway compares."""

import re

import idna

MAX_LENGTH = 253
WILDCARD = "*."
"""What a name begins with that stands for all names of one more label."""
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def normalise(text: str) -> str:
    """Return *text* as a lower-case ASCII host name (IDNA 2008 with UTS 46 mapping).

    `*.` may stand before it.

    Raises:
        ValueError: it is not a name that a browser would send as a host; the message says why.
    """
    text = text.strip()
    if text.startswith(WILDCARD):
        return WILDCARD + _normalise(text.removeprefix(WILDCARD), MAX_LENGTH - len(WILDCARD))
    return _normalise(text, MAX_LENGTH)


def is_wildcard(name: str) -> bool:
    """Tell whether *name* stands for many."""
    return name.startswith(WILDCARD)


def base(name: str) -> str:
    """Return *name* without `*.`."""
    return name.removeprefix(WILDCARD)


def wildcard_of(name: str) -> str:
    """Return the name of the wildcard that *name* falls under."""
    return WILDCARD + name.partition(".")[2]


def _normalise(text: str, longest: int) -> str:
    name = _ascii(text).removesuffix(".")
    labels = name.split(".")
    if len(name) > longest or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("is not a domain name: letters, digits, hyphens and dots only")
    if _NUMBER.fullmatch(labels[-1]):
        raise ValueError("must be a name, not an IP address")
    if len(labels) < 2:
        raise ValueError("must have at least two labels, such as api.example.com")
    return name


def above(name: str) -> list[str]:
    """Return the names above *name* that could be somebody's, from the nearest up."""
    labels = name.split(".")
    return [".".join(labels[start:]) for start in range(1, len(labels) - 1)]


def _ascii(text: str) -> str:
    if ":" in text or "/" in text or "@" in text:
        raise ValueError("must be a bare name, without scheme, port or path")
    if "*" in text:
        raise ValueError("must have its one * alone before the first dot, such as *.example.com")
    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode("ascii").lower()
    except idna.IDNAError as error:
        raise ValueError(f"is not a domain name: {error}") from error
