"""What happens to identity providers, and to users by them."""

import dataclasses
import uuid
from typing import ClassVar

from control_plane.core.events import Event


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdentityProviderEvent(Event):
    """Base of the events of identity providers."""

    provider_id: uuid.UUID
    tenant_id: uuid.UUID | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdentityProviderCreated(IdentityProviderEvent):
    """An identity provider was added."""

    name: ClassVar[str] = "single_sign_on.provider_created"


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdentityProviderChanged(IdentityProviderEvent):
    """An identity provider was changed."""

    name: ClassVar[str] = "single_sign_on.provider_changed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdentityProviderDeleted(IdentityProviderEvent):
    """An identity provider was deleted; its users have their other ways to sign in."""

    name: ClassVar[str] = "single_sign_on.provider_deleted"


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserLinked(IdentityProviderEvent):
    """A user signed in at a provider for the first time, and is known there from now on."""

    name: ClassVar[str] = "single_sign_on.user_linked"
    user_id: uuid.UUID
