"""The table of users."""

import datetime
import enum
import uuid

from sqlalchemy import ForeignKey, ForeignKeyConstraint, String
from sqlalchemy.orm import Mapped, mapped_column, validates

from control_plane.core.audit_entries import SECRET, UNAUDITED
from control_plane.core.clock import now
from control_plane.core.conditions import Versioned
from control_plane.core.ids import new_id
from control_plane.core.tables import Base
from control_plane.core.types import text_enum
from control_plane.identity import names
from control_plane.identity.models.roles import RoleHolder


class UserStatus(enum.StrEnum):
    """Whether a user may sign in."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    """Invited, and has not chosen a password yet."""
    LOCKED = "locked"


class User(RoleHolder, Versioned, Base):
    """Somebody who signs in; without a tenant he is a user of the platform.

    Names are unique over the platform and not by tenant, because one signs in by the name alone.
    """

    __tablename__ = "users"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "custom_role_id"], ["roles.tenant_id", "roles.id"]),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id"), index=True)
    username: Mapped[str] = mapped_column(String(names.MAXIMUM_LENGTH))
    username_key: Mapped[str] = mapped_column(String(names.MAXIMUM_LENGTH), unique=True)
    email: Mapped[str | None] = mapped_column(String(254))
    password_hash: Mapped[str | None] = mapped_column(String(200), info=SECRET)
    status: Mapped[UserStatus] = mapped_column(text_enum(UserStatus), default=UserStatus.ACTIVE)
    last_login: Mapped[datetime.datetime | None] = mapped_column(info=UNAUDITED)
    creation_date: Mapped[datetime.datetime] = mapped_column(default=now)

    @validates("username")
    def _key_the_name(self, _field: str, username: str) -> str:
        self.username_key = names.name_key(username)
        return username

    def __repr__(self) -> str:
        return f"<User {self.id}>"
