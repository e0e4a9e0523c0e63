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
class TenantConfigured(TenantEvent):
    """What a tenant may use, or how its applications look and behave, was changed."""

    name: ClassVar[str] = "tenants.configured"


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
class TenantMoved(TenantEvent):
    """A tenant's business data was moved into a schema of its own, or back."""

    name: ClassVar[str] = "tenants.moved"
    isolation: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class TenantDeleted(TenantEvent):
    """A tenant was deleted: its traffic was stopped, and its data waits for its purge date."""

    name: ClassVar[str] = "tenants.deleted"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TenantPurged(TenantEvent):
    """A deleted tenant's data is gone, but for what has to be kept."""

    name: ClassVar[str] = "tenants.purged"


ALL: tuple[type[TenantEvent], ...] = (
    TenantCreated,
    TenantUpdated,
    TenantConfigured,
    TenantActivated,
    TenantSuspended,
    TenantExpired,
    TenantMoved,
    TenantDeleted,
    TenantPurged,
)
