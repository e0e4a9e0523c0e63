"""The tables of sign-ins, whose rows go with their user; the database shows them with him only."""

import datetime
import enum
import uuid

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import now
from control_plane.core.conditions import Versioned
from control_plane.core.ids import new_id
from control_plane.core.tables import Base
from control_plane.core.types import text_enum


class UserSession(Versioned, Base):
    """One sign-in; ends all its tokens when it ends. The id is the tokens' family."""

    __tablename__ = "user_sessions"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    network: Mapped[str | None] = mapped_column(String(43))
    user_agent: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime.datetime | None]


class RefreshToken(Base):
    """A token that renews a sign-in once; kept after its use, so that a second use is seen."""

    __tablename__ = "refresh_tokens"
    audited = False

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("user_sessions.id", ondelete="CASCADE"), index=True
    )
    expires_at: Mapped[datetime.datetime] = mapped_column(index=True)
    used_at: Mapped[datetime.datetime | None]


class FamiliarNetwork(Base):
    """A network that a user has proved himself from: strangers' failures do not stop him there."""

    __tablename__ = "familiar_networks"
    audited = False

    user_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    network: Mapped[str] = mapped_column(String(43), primary_key=True)
    last_seen: Mapped[datetime.datetime] = mapped_column(default=now, index=True)


class Purpose(enum.StrEnum):
    """What a mailed token is good for."""

    INVITATION = "invitation"
    FORGOTTEN = "forgotten"


class MailedToken(Base):
    """A token in a mail, by which its reader chooses a password, once; only a digest is kept."""

    __tablename__ = "mailed_tokens"
    audited = False

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    purpose: Mapped[Purpose] = mapped_column(text_enum(Purpose))
    expires_at: Mapped[datetime.datetime] = mapped_column(index=True)


class PasswordResetRequest(Base):
    """Somebody has forgotten a password.

    It is looked into afterwards, by the worker, so that the answer does not tell by the time it
    takes whether there is such a user.
    """

    __tablename__ = "password_reset_requests"
    audited = False

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    username_key: Mapped[str | None] = mapped_column(String(100))
    email: Mapped[str | None] = mapped_column(String(254))
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
