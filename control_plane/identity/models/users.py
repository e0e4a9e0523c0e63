"""The table of users."""

import datetime
import enum
import uuid

from sqlalchemy import Enum, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.auth import Role
from control_plane.core.clock import now
from control_plane.core.database import Base
from control_plane.core.ids import new_id
from control_plane.core.tenancy import TenantFiltered


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
