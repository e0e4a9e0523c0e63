"""Tables of the room tenants."""

import datetime
import enum
import uuid
from typing import Any

from sqlalchemy import Enum, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship, synonym

from control_plane.core.clock import now
from control_plane.core.conditions import Versioned
from control_plane.core.ids import new_id
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantFiltered, TenantScoped

DEFAULT_TIME_ZONE = "Asia/Shanghai"

EVERY_MODEL = "*"
"""Stands in a tenant's `ai_model_access`, alone, for all models there are and will be."""


class TenantStatus(enum.StrEnum):
    """Whether a tenant's traffic is served; only an active tenant's is."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    SUSPENDED = "suspended"


class Isolation(enum.StrEnum):
    """Where a tenant's business rows lie; who may see them is the same for both."""

    ROW = "row"
    """In tables with those of other tenants."""
    SCHEMA = "schema"
    """In a schema of its own (PostgreSQL only)."""


class TenantConfiguration(TenantScoped, Versioned, Base):
    """What a tenant may use, and how its own applications look and behave."""

    __tablename__ = "tenant_configurations"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), unique=True)
    ai_model_access: Mapped[list[str]] = mapped_column(default=lambda: [EVERY_MODEL])
    feature_flags: Mapped[dict[str, Any]] = mapped_column(default=dict)
    ui_theme: Mapped[dict[str, Any]] = mapped_column(default=dict)
    api_call_limits: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Tenant(TenantFiltered, Versioned, Base):
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
    isolation: Mapped[Isolation] = mapped_column(
        Enum(
            Isolation,
            native_enum=False,
            length=16,
            create_constraint=False,
            values_callable=lambda isolations: [isolation.value for isolation in isolations],
        ),
        default=Isolation.ROW,
        server_default=Isolation.ROW.value,
    )
    creation_date: Mapped[datetime.datetime] = mapped_column(default=now)
    expiry_date: Mapped[datetime.datetime | None] = mapped_column(index=True)
    purge_date: Mapped[datetime.datetime | None] = mapped_column(index=True)
    time_zone: Mapped[str] = mapped_column(
        String(64), default=DEFAULT_TIME_ZONE, server_default=DEFAULT_TIME_ZONE
    )
    max_users: Mapped[int | None]
    max_storage: Mapped[int | None]
    configurations: Mapped[TenantConfiguration] = relationship(cascade="all, delete-orphan")

    @property
    def is_suspended(self) -> bool:
        """Whether somebody stopped the tenant's traffic, and may let it go on."""
        return self.status is TenantStatus.SUSPENDED

    def __init__(self, **fields: Any) -> None:
        super().__init__(**{"configurations": TenantConfiguration(), **fields})
