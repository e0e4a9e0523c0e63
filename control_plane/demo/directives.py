"""Directives: how a prompt asks the demo upstream for a stream, a delay or a failure.

A prompt may hold `[demo name=value …]`, for example `[demo chunks=20 delay_ms=50]`. They stand
in the prompt and not in a header because a prompt passes through every gateway unchanged.
"""

import re
from dataclasses import dataclass, fields
from typing import Final

_DIRECTIVE: Final = re.compile(r"\[demo((?: [a-z_]+=\d{1,9})+)\]")


@dataclass(frozen=True)
class Directives:
    """What one prompt asked for; a name that is not here is ignored."""

    status: int = 200  # answer with this HTTP status and an OpenAI error
    chunks: int = 0  # answer with this many words
    delay_ms: int = 0  # wait before the answer; in a stream, before every chunk
    cut_after: int = -1  # break the connection after this many chunks (0: before the answer's end)
    usage: int = 1  # 0: leave the usage counts out, as some servers do
    gzip: int = 0  # 1: compress the answer although nobody asked for it
    echo: int = 0  # 1: answer with the request body, byte for byte as it arrived


_NAMES: Final = frozenset(field.name for field in fields(Directives))


def parse_directives(prompt: str) -> Directives:
    """Read the last `[demo …]` of the prompt; without one, everything is as usual."""
    found = _DIRECTIVE.findall(prompt)
    if not found:
        return Directives()
    pairs = (word.split("=") for word in found[-1].split())
    return Directives(**{name: int(value) for name, value in pairs if name in _NAMES})
