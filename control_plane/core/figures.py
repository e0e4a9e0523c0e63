"""What a room tells Prometheus of what it holds: looked up when somebody asks, by the worker."""

import dataclasses
import typing
from collections.abc import Callable, Mapping

if typing.TYPE_CHECKING:
    from control_plane.core.plugins import JobContext

Values = Mapping[tuple[str, ...], float]
"""The values of a metric's labels, in their order, to its number; `()` where it has no labels."""

OTHER = "other"
"""Stands for all that come after a label's last value."""


class Family(typing.NamedTuple):
    """A metric: its labels have a bounded number of values, none of which anybody typed."""

    name: str
    kind: typing.Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str


@dataclasses.dataclass(frozen=True)
class Figures:
    """Gauges that are read together.

    `read(context)` returns for the name of each of them its values; what it raises, such as by a
    database that is away, leaves all of them out.
    """

    name: str
    families: tuple[Family, ...]
    read: Callable[["JobContext"], Mapping[str, Values]]


def bounded(values: Mapping[str, float], most: int) -> Values:
    """Return *values* by one label; those behind the first *most* as the highest of them."""
    names = sorted(values)
    kept: dict[tuple[str, ...], float] = {(name,): values[name] for name in names[:most]}
    if len(names) > most:
        kept[(OTHER,)] = max(values[name] for name in names[most:])
    return kept
