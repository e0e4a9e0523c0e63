"""What happens to issuers."""

import uuid
from dataclasses import dataclass
from typing import ClassVar

from control_plane.core.events import Event


@dataclass(frozen=True, kw_only=True)
class IssuersChanged(Event):
    """A tenant's issuers, or the keys of one, are not what they were."""

    name: ClassVar[str] = "issuers.changed"
    tenant_id: uuid.UUID
