"""What happens to users, roles and API keys."""

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
class UserInvited(UserEvent):
    """A user was sent a mail by which he can choose a password."""

    name: ClassVar[str] = "identity.user_invited"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PasswordResetMailed(UserEvent):
    """A user who forgot his password was sent a mail by which he can choose another one."""

    name: ClassVar[str] = "identity.password_reset_mailed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PasswordChosen(UserEvent):
    """A user chose a password by a mailed token; his sign-ins ended."""

    name: ClassVar[str] = "identity.password_chosen"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoleEvent(Event):
    """Base of the events of custom roles."""

    role_id: uuid.UUID
    tenant_id: uuid.UUID | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoleCreated(RoleEvent):
    """A role was made."""

    name: ClassVar[str] = "identity.role_created"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoleUpdated(RoleEvent):
    """A role's name, description or permissions were changed."""

    name: ClassVar[str] = "identity.role_updated"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoleDeleted(RoleEvent):
    """A role was deleted."""

    name: ClassVar[str] = "identity.role_deleted"


@dataclasses.dataclass(frozen=True, kw_only=True)
class APIKeyEvent(Event):
    """Base of the events of API keys."""

    key_id: uuid.UUID
    tenant_id: uuid.UUID
    public_ids: list[str]
    """Of the secrets that it has, and of those that it lost."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class APIKeyCreated(APIKeyEvent):
    """An API key was made."""

    name: ClassVar[str] = "identity.api_key_created"


@dataclasses.dataclass(frozen=True, kw_only=True)
class APIKeyChanged(APIKeyEvent):
    """An API key's name, limits or end were changed."""

    name: ClassVar[str] = "identity.api_key_changed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class APIKeyRotated(APIKeyEvent):
    """An API key was given a new secret."""

    name: ClassVar[str] = "identity.api_key_rotated"


@dataclasses.dataclass(frozen=True, kw_only=True)
class APIKeyRevoked(APIKeyEvent):
    """An API key was revoked."""

    name: ClassVar[str] = "identity.api_key_revoked"
