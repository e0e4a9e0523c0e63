"""Brings a domain name that somebody typed into the one form that the gateway compares."""

import re

import idna

MAX_LENGTH = 253
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def normalise(text: str) -> str:
    """Return *text* as a lower-case ASCII host name (IDNA 2008 with UTS 46 mapping).

    Raises:
        ValueError: it is not a name that a browser would send as a host; the message says why.
    """
    name = _ascii(text.strip()).removesuffix(".")
    labels = name.split(".")
    if len(name) > MAX_LENGTH or not all(_LABEL.fullmatch(label) for label in labels):
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
    if text.startswith("*"):
        raise ValueError("must be one name: wildcards are not supported")
    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode("ascii").lower()
    except idna.IDNAError as error:
        raise ValueError(f"is not a domain name: {error}") from error
