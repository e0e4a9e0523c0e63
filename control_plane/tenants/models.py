"""Tables of the room tenants."""

import datetime
import enum
import uuid
from typing import Any

from sqlalchemy import Enum, String
from sqlalchemy.orm import Mapped, mapped_column, synonym

from control_plane.core.clock import now
from control_plane.core.database import Base
from control_plane.core.ids import new_id
from control_plane.core.tenancy import TenantFiltered


class TenantStatus(enum.StrEnum):
    """Whether a tenant's traffic is served; only an active tenant's is."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    SUSPENDED = "suspended"


class Tenant(TenantFiltered, Base):
    """A customer of the platform; his users see no other tenant."""

    __tablename__ = "tenants"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id = synonym("id")
    name: Mapped[str] = mapped_column(String(200))
    contact_person: Mapped[str | None] = mapped_column(String(200))
    contact_email: Mapped[str | None] = mapped_column(String(254))
    contact_phone: Mapped[str | None] = mapped_column(String(50))
    status: Mapped[TenantStatus] = mapped_column(
        Enum(
            TenantStatus,
            native_enum=False,
            length=16,
            create_constraint=False,
            values_callable=lambda statuses: [status.value for status in statuses],
        ),
        default=TenantStatus.ACTIVE,
    )
    suspension_reason: Mapped[str | None] = mapped_column(String(500))
    creation_date: Mapped[datetime.datetime] = mapped_column(default=now)
    expiry_date: Mapped[datetime.datetime | None] = mapped_column(index=True)
    max_users: Mapped[int | None]
    max_storage: Mapped[int | None]
    feature_flags: Mapped[dict[str, Any]] = mapped_column(default=dict)
    ui_theme: Mapped[dict[str, Any]] = mapped_column(default=dict)

    @property
    def configurations(self) -> "Tenant":
        """The tenant itself: the wire nests its configuration, the table does not."""
        return self
