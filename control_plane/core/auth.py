"""Who acts, and what he may do. How an actor proves himself is the room identity's matter."""

import contextlib
import dataclasses
import enum
import uuid
from collections.abc import Iterator
from contextvars import ContextVar

from control_plane.core.errors import Unauthorized


class Role(enum.StrEnum):
    """What a user may do, least first; each role has the rights of those before it."""

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
