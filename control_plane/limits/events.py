"""What happens to limits."""

import uuid
from dataclasses import dataclass
from typing import ClassVar

from control_plane.core.events import Event


@dataclass(frozen=True, kw_only=True)
class LimitsChanged(Event):
    """The rules of a tenant, or without one those for everybody, are not what they were."""

    name: ClassVar[str] = "limits.changed"
    tenant_id: uuid.UUID | None
