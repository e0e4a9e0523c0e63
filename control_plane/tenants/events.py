"""What happens to tenants."""

import dataclasses
import uuid
from typing import ClassVar

from control_plane.core.events import Event


@dataclasses.dataclass(frozen=True, kw_only=True)
class TenantEvent(Event):
    """Base of the room's events."""

    tenant_id: uuid.UUID


@dataclasses.dataclass(frozen=True, kw_only=True)
class TenantCreated(TenantEvent):
    """A tenant was created."""

    name: ClassVar[str] = "tenants.created"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TenantUpdated(TenantEvent):
    """What is known of a tenant was changed."""

    name: ClassVar[str] = "tenants.updated"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TenantActivated(TenantEvent):
    """A tenant's traffic is served again."""

    name: ClassVar[str] = "tenants.activated"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TenantSuspended(TenantEvent):
    """A tenant's traffic was stopped by an operator."""

    name: ClassVar[str] = "tenants.suspended"
    reason: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TenantExpired(TenantEvent):
    """A tenant's traffic was stopped because its expiry date is past."""

    name: ClassVar[str] = "tenants.expired"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TenantDeleted(TenantEvent):
    """A tenant and all that belonged to it was deleted."""

    name: ClassVar[str] = "tenants.deleted"


ALL: tuple[type[TenantEvent], ...] = (
    TenantCreated,
    TenantUpdated,
    TenantActivated,
    TenantSuspended,
    TenantExpired,
    TenantDeleted,
)
