"""By whom, and in the course of what, something is changed: the audit log tells it each time."""

import contextlib
import dataclasses
import enum
import uuid
from collections.abc import Iterator
from contextvars import ContextVar

from control_plane.core import auth


class ActorKind(enum.StrEnum):
    """What kind of actor it is."""

    USER = "user"
    CLIENT = "client"
    """A service client."""
    ANONYMOUS = "anonymous"
    COMMAND = "command"
    """Somebody at the command line, known by the name that the machine has for him."""
    SYSTEM = "system"
    """The worker, and whatever else runs by itself."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """What an operation is about: told where nothing that changed would tell it."""

    tenant_id: uuid.UUID | None
    resource_type: str | None
    resource_id: str | None


@dataclasses.dataclass
class Occasion:
    """A request, a command or a job."""

    operation: str
    """`POST /api/tenants/{tenantId}/suspend`, `yumen tenant move` or `job expire_tenants`."""
    kind: ActorKind = ActorKind.SYSTEM
    name: str | None = None
    request_id: str | None = None
    address: str | None = None
    subject: Subject | None = None
    proved: tuple[ActorKind, str] | None = None
    """The user, or the client, who proved in this very request who he is."""

    @property
    def actor(self) -> tuple[ActorKind, str | None]:
        """Who acts: what kind of actor it is, and its id or name."""
        signed_in = auth.find_actor()
        if signed_in is not None:
            by_himself = signed_in.sign_in_id is not None
            return ActorKind.USER if by_himself else ActorKind.CLIENT, str(signed_in.user_id)
        if self.proved is not None:
            return self.proved
        return self.kind, self.name


_occasion: ContextVar[Occasion | None] = ContextVar("yumen_occasion", default=None)


def current() -> Occasion:
    """Return the present occasion; without one it is the system itself that acts."""
    return _occasion.get() or Occasion("")


@contextlib.contextmanager
def during(occasion: Occasion) -> Iterator[None]:
    """Run the block in the course of *occasion*."""
    token = _occasion.set(occasion)
    try:
        yield
    finally:
        _occasion.reset(token)


def concern(tenant_id: uuid.UUID | None, resource_type: str, resource_id: object) -> None:
    """Note what the present occasion is about."""
    occasion = _occasion.get()
    if occasion is not None:
        occasion.subject = Subject(tenant_id, resource_type, str(resource_id))


def prove(actor_id: uuid.UUID, kind: ActorKind = ActorKind.USER) -> None:
    """Note that the present request, which began as anybody's, is that user's or client's."""
    occasion = _occasion.get()
    if occasion is not None:
        occasion.proved = (kind, str(actor_id))
