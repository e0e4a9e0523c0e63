"""What happens to domains."""

import uuid
from dataclasses import dataclass
from typing import ClassVar

from control_plane.core.events import Event


@dataclass(frozen=True, kw_only=True)
class DomainVerified(Event):
    """A tenant proved that a name is his; the gateway routes it from now on."""

    name: ClassVar[str] = "domains.verified"
    tenant_id: uuid.UUID
    domain_name: str


@dataclass(frozen=True, kw_only=True)
class DomainRemoved(Event):
    """A verified domain was deleted; the gateway no longer routes its name."""

    name: ClassVar[str] = "domains.removed"
    tenant_id: uuid.UUID
    domain_name: str
