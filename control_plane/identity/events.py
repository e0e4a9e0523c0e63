"""What happens to users and API keys."""

import dataclasses
import uuid
from typing import ClassVar

from control_plane.core.events import Event


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserEvent(Event):
    """Base of the events of users."""

    user_id: uuid.UUID
    tenant_id: uuid.UUID | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserCreated(UserEvent):
    """A user was created."""

    name: ClassVar[str] = "identity.user_created"


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserUpdated(UserEvent):
    """A user's data, role, status or password was changed."""

    name: ClassVar[str] = "identity.user_updated"


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserDeleted(UserEvent):
    """A user was deleted."""

    name: ClassVar[str] = "identity.user_deleted"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefreshTokenReused(UserEvent):
    """A refresh token was used a second time, so it was stolen; its sign-in was ended."""

    name: ClassVar[str] = "identity.refresh_token_reused"


@dataclasses.dataclass(frozen=True, kw_only=True)
class APIKeyEvent(Event):
    """Base of the events of API keys."""

    key_id: uuid.UUID
    tenant_id: uuid.UUID
    public_id: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class APIKeyCreated(APIKeyEvent):
    """An API key was made."""

    name: ClassVar[str] = "identity.api_key_created"


@dataclasses.dataclass(frozen=True, kw_only=True)
class APIKeyRevoked(APIKeyEvent):
    """An API key was revoked."""

    name: ClassVar[str] = "identity.api_key_revoked"
