"""What happens to service clients."""

import dataclasses
import uuid
from typing import ClassVar

from control_plane.core.events import Event


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceClientEvent(Event):
    """Base of the events of service clients."""

    client_id: uuid.UUID
    tenant_id: uuid.UUID | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceClientCreated(ServiceClientEvent):
    """A service client was made."""

    name: ClassVar[str] = "service_clients.client_created"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceClientChanged(ServiceClientEvent):
    """A service client's name, role, end or state was changed."""

    name: ClassVar[str] = "service_clients.client_changed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceClientRotated(ServiceClientEvent):
    """A service client was given a new secret."""

    name: ClassVar[str] = "service_clients.client_rotated"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceClientDeleted(ServiceClientEvent):
    """A service client was deleted; its tokens ended with it."""

    name: ClassVar[str] = "service_clients.client_deleted"
