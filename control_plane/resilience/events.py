"""What happens to circuit breakers and degradation rules."""

import dataclasses
from typing import ClassVar

from control_plane.core.events import Event


@dataclasses.dataclass(frozen=True, kw_only=True)
class BreakersChanged(Event):
    """The breakers of these services are not what they were."""

    name: ClassVar[str] = "resilience.breakers_changed"
    services: list[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DegradationsChanged(Event):
    """The degradation rules of these services are not what they were."""

    name: ClassVar[str] = "resilience.degradations_changed"
    services: list[str]
