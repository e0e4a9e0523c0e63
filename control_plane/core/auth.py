"""Who acts, and what he may do. How an actor proves himself is the room identity's matter."""

import contextlib
import dataclasses
import enum
import functools
import re
import uuid
from collections.abc import Iterator, Mapping
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


class Access(enum.StrEnum):
    """How much of a field somebody gets, least first; each gives what those before it give."""

    NONE = "none"
    """It is not there."""
    MASKED = "masked"
    """He sees that there is a value, and a hint of it; only contact data has such a form."""
    READ = "read"
    WRITE = "write"

    @property
    def shows(self) -> bool:
        """Whether the value is seen as it is."""
        return self in {Access.READ, Access.WRITE}

    @property
    def writes(self) -> bool:
        """Whether the value may be set."""
        return self is Access.WRITE

    def exceeds(self, other: "Access") -> bool:
        """Tell whether this is more than *other*."""
        ranks = list(Access)
        return ranks.index(self) > ranks.index(other)


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
    fields: Mapping[str, Access] = dataclasses.field(default_factory=dict, compare=False)
    """What he gets less of than his permissions say: fields, named `resource.field`."""

    def may(self, permission: Permission) -> bool:
        """Tell whether the actor has *permission*."""
        return permission.name in self.permissions

    @functools.cached_property
    def limits(self) -> Mapping[str, Mapping[str, Access]]:
        """`fields` by resource and then by field, grouped once for a request."""
        found: dict[str, dict[str, Access]] = {}
        for name, access in self.fields.items():
            resource, _, field = name.partition(".")
            found.setdefault(resource, {})[field] = access
        return found


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


def limits_on(resource: str | None) -> Mapping[str, Access]:
    """Return the fields of *resource* that the actor gets less of, by name, and how much."""
    actor = _actor.get()
    return {} if actor is None or resource is None else actor.limits.get(resource, {})


@contextlib.contextmanager
def seeing_all_fields() -> Iterator[None]:
    """Run the block in the name of the actor, as if his role kept no field from him."""
    actor = _actor.get()
    with acting_as(None if actor is None else dataclasses.replace(actor, fields={})):
        yield


@contextlib.contextmanager
def acting_as(actor: Actor | None) -> Iterator[None]:
    """Run the block in the name of *actor*."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)
