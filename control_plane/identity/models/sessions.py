"""The tables of sign-ins."""

import datetime
import uuid

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import now
from control_plane.core.database import Base
from control_plane.core.ids import new_id


class UserSession(Base):
    """One sign-in; ends all its tokens when it ends. The id is the tokens' family."""

    __tablename__ = "user_sessions"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime.datetime | None]


class RefreshToken(Base):
    """A token that renews a sign-in once; kept after its use, so that a second use is seen."""

    __tablename__ = "refresh_tokens"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("user_sessions.id", ondelete="CASCADE"), index=True
    )
    expires_at: Mapped[datetime.datetime] = mapped_column(index=True)
    used_at: Mapped[datetime.datetime | None]
