"""Domain events: emitted in the transaction of their change, so never lost and never early."""

import dataclasses
import datetime
import enum
import uuid
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy.orm import Session

from control_plane.core import auth, clock, waker
from control_plane.core.outbox import OutboxEvent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened, in the past tense; its fields are its payload."""

    name: ClassVar[str]
    """`room.event`, such as `tenants.suspended`."""

    def payload(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            field.name: _as_json(getattr(self, field.name)) for field in dataclasses.fields(self)
        }


def _as_json(value: Any) -> Any:
    """Return *value* as JSON has it: ids, decimals and times become text."""
    if isinstance(value, uuid.UUID | Decimal):
        return str(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, list | tuple | set | frozenset):
        return [_as_json(item) for item in value]
    return value


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
