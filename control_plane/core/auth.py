"""Who acts, and what he may do. How an actor proves himself is the room identity's matter."""

import contextlib
import dataclasses
import enum
import re
import uuid
from collections.abc import Iterator
from contextvars import ContextVar

from control_plane.core.errors import Unauthorized

ISSUER = "yumen"
AUDIENCE = "yumen-api"
"""Who gives access tokens, and what they are good for (RFC 7519, claims `iss` and `aud`)."""

_NAME = re.compile(r"[a-z][a-z0-9-]*:[a-z][a-z0-9-]*")


class Role(enum.StrEnum):
    """The roles that are always there, least first; each has the rights of those before it.

    What else a user may do is told by roles that are rows: see the room identity.
    """

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclasses.dataclass(frozen=True)
class Permission:
    """A right, named `resource:action`; a route names the one it needs."""

    name: str
    description: str
    role: Role | None = None
    """The least role that has it; by default VIEWER for `…:read` and OPERATOR for the rest."""
    platform: bool = False
    """Only users of the platform can have it, whatever their role in a tenant."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"A permission is named resource:action, not {self.name}.")

    @property
    def id(self) -> str:
        """What others refer to it by: its name, which never changes."""
        return self.name

    @property
    def resource_type(self) -> str:
        """The kind of thing that it is a right to."""
        return self.name.partition(":")[0]

    @property
    def actions(self) -> list[str]:
        """What may be done to such a thing."""
        return [self.name.partition(":")[2]]

    @property
    def least_role(self) -> Role:
        """The least role that has this permission."""
        if self.role is not None:
            return self.role
        return Role.VIEWER if self.name.endswith(":read") else Role.OPERATOR


@dataclasses.dataclass(frozen=True)
class Actor:
    """Who makes a request; `tenant_id` is None for a user of the platform."""

    user_id: uuid.UUID
    tenant_id: uuid.UUID | None
    permissions: frozenset[str]
    sign_in_id: uuid.UUID | None = None
    """The sign-in that he makes it in."""

    def may(self, permission: Permission) -> bool:
        """Tell whether the actor has *permission*."""
        return permission.name in self.permissions


_actor: ContextVar[Actor | None] = ContextVar("yumen_actor", default=None)


def current_actor() -> Actor:
    """Return who makes the request.

    Raises:
        Unauthorized: nobody has signed in.
    """
    actor = _actor.get()
    if actor is None:
        raise Unauthorized("authentication_required", "Sign in to use this.")
    return actor


def find_actor() -> Actor | None:
    """Return who makes the request, None outside of one."""
    return _actor.get()


@contextlib.contextmanager
def acting_as(actor: Actor | None) -> Iterator[None]:
    """Run the block in the name of *actor*."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)
