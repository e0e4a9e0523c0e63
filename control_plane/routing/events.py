"""What happens to routes and upstreams."""

import uuid
from dataclasses import dataclass
from typing import ClassVar

from control_plane.core.events import Event


@dataclass(frozen=True, kw_only=True)
class RoutesChanged(Event):
    """A tenant's routes are not what they were."""

    name: ClassVar[str] = "routing.routes_changed"
    tenant_id: uuid.UUID


@dataclass(frozen=True, kw_only=True)
class UpstreamChanged(Event):
    """An upstream was added or changed, its targets are others, or it is gone."""

    name: ClassVar[str] = "routing.upstream_changed"
    upstream_id: uuid.UUID
