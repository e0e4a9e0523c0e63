"""Keeps account of a journal's arrival: chunks come twice, out of order, with other borders."""

from collections.abc import Iterable

from control_plane.contract.usage_stream import START, Position

Stretch = tuple[Position, Position]
Stretches = list[list[list[int]]]
"""Stretches as JSON: pairs of positions, each `[segment, offset]`."""


def cover(covered: Stretches, arrived: Iterable[Stretch]) -> Stretches:
    """Return *covered* with what *arrived*, merged and in order."""
    known = [(Position(*start), Position(*end)) for start, end in covered]
    merged: list[Stretch] = []
    for start, end in sorted([*known, *arrived]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return [[list(start), list(end)] for start, end in merged]


def reached(covered: Stretches) -> Position:
    """Return how far the journal is there without a gap."""
    if covered and Position(*covered[0][0]) == START:
        return Position(*covered[0][1])
    return START


def is_covered(covered: Stretches, start: Position, end: Position) -> bool:
    """Say whether everything between two positions is there."""
    return any(
        Position(*known_start) <= start and end <= Position(*known_end)
        for known_start, known_end in covered
    )
