"""Domain events: emitted in the transaction of their change, so never lost and never early."""

import dataclasses
from typing import Any, ClassVar

from sqlalchemy.orm import Session

from control_plane.core import auth, clock, waker
from control_plane.core.outbox import OutboxEvent
from control_plane.core.plain import plain


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened, in the past tense; its fields are its payload."""

    name: ClassVar[str]
    """`room.event`, such as `tenants.suspended`."""

    def payload(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {field.name: plain(getattr(self, field.name)) for field in dataclasses.fields(self)}


def emit(session: Session, event: Event) -> None:
    """Write *event* to the outbox in the session's transaction."""
    actor = auth.find_actor()
    session.add(
        OutboxEvent(
            name=event.name,
            payload=event.payload(),
            actor_id=None if actor is None else actor.user_id,
            created_at=clock.now(),
        )
    )
    waker.wake_after_commit(session)
