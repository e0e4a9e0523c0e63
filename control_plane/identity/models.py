"""Tables of the room identity."""

import dataclasses
import datetime
import enum
import uuid

from sqlalchemy import Enum, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.auth import Role
from control_plane.core.clock import now
from control_plane.core.database import Base
from control_plane.core.ids import new_id
from control_plane.core.tenancy import TenantFiltered, TenantScoped

KEY_PREFIX = "ym_live_"


class UserStatus(enum.StrEnum):
    """Whether a user may sign in."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    LOCKED = "locked"


def _text_enum(kind: type[enum.StrEnum]) -> Enum:
    return Enum(
        kind,
        native_enum=False,
        length=16,
        create_constraint=False,
        values_callable=lambda members: [member.value for member in members],
    )


class User(TenantFiltered, Base):
    """Somebody who signs in; without a tenant he is a user of the platform."""

    __tablename__ = "users"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id"), index=True)
    username: Mapped[str] = mapped_column(String(100), unique=True)
    email: Mapped[str | None] = mapped_column(String(254))
    password_hash: Mapped[str] = mapped_column(String(200))
    role: Mapped[Role] = mapped_column(_text_enum(Role))
    status: Mapped[UserStatus] = mapped_column(_text_enum(UserStatus), default=UserStatus.ACTIVE)
    last_login: Mapped[datetime.datetime | None]
    creation_date: Mapped[datetime.datetime] = mapped_column(default=now)

    def __repr__(self) -> str:
        return f"<User {self.id}>"


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


class APIKey(TenantScoped, Base):
    """What a tenant's programs identify themselves with at the gateway; only a digest is kept."""

    __tablename__ = "api_keys"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    public_id: Mapped[str] = mapped_column(String(12), unique=True)
    digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime.datetime | None]
    revoked_at: Mapped[datetime.datetime | None]

    @property
    def prefix(self) -> str:
        """How the key's text begins; it can be shown."""
        return KEY_PREFIX + self.public_id


@dataclasses.dataclass(frozen=True)
class NewAPIKey:
    """A key that was just made, with its text, which is known only now."""

    row: APIKey
    text: str = dataclasses.field(repr=False)
