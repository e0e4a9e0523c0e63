"""The outbox: events that were committed and still have to be acted upon, oldest first."""

import datetime
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Integer, String, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from control_plane.core import clock
from control_plane.core.figures import Family, Figures, Values
from control_plane.core.plugins import JobContext
from control_plane.core.tables import Base
from control_plane.core.tenancy import platform_context


class OutboxEvent(Base):
    """An event that is not done yet."""

    __tablename__ = "outbox"
    audited = False

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True
    )
    name: Mapped[str] = mapped_column(String(100))
    payload: Mapped[dict[str, Any]]
    actor_id: Mapped[uuid.UUID | None]
    created_at: Mapped[datetime.datetime]


def pending(session: Session, limit: int) -> Sequence[OutboxEvent]:
    """Return the oldest events that are not done.

    A row with a lower id may still appear later, from a transaction that commits later; nothing is
    lost by that, because an event leaves the outbox only through `done`.
    """
    return session.scalars(select(OutboxEvent).order_by(OutboxEvent.id).limit(limit)).all()


def done(session: Session, rows: Iterable[OutboxEvent]) -> None:
    """Take *rows* out of the outbox."""
    session.execute(delete(OutboxEvent).where(OutboxEvent.id.in_([row.id for row in rows])))


_WAITING = Family("yumen_outbox_events", "gauge", (), "Changes that are not published yet.")
_AGE = Family(
    "yumen_outbox_age_seconds", "gauge", (), "Age of the oldest change that is not published yet."
)


def _read(context: JobContext) -> Mapping[str, Values]:
    query = select(func.count(), func.min(OutboxEvent.created_at)).select_from(OutboxEvent)
    with platform_context(), context.database.session(write=False) as session:
        waiting, oldest = session.execute(query).one()
    age = 0.0 if oldest is None else (clock.now() - oldest).total_seconds()
    return {_WAITING.name: {(): waiting}, _AGE.name: {(): max(0.0, age)}}


FIGURES = Figures("outbox", (_WAITING, _AGE), _read)
"""How far publishing is behind what was committed."""
