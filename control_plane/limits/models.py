"""The table of the room limits."""

import datetime
import uuid
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import now
from control_plane.core.conditions import Versioned
from control_plane.core.ids import new_id
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantFiltered


class Limit(TenantFiltered, Versioned, Base):
    """A rule of how much may pass; without a tenant it is one for the requests of all."""

    __tablename__ = "limits"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(100))
    scope: Mapped[list[str]]
    match: Mapped[dict[str, Any]]
    """`key`, `user`, `route`, `model`: each the text that a request must have, or None."""
    meter: Mapped[str] = mapped_column(String(16))
    limit: Mapped[int] = mapped_column(BigInteger)
    window: Mapped[str | None] = mapped_column(String(16))
    burst: Mapped[int | None] = mapped_column(BigInteger)
    on_outage: Mapped[str] = mapped_column(String(16))
    is_active: Mapped[bool]
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)


# SQL takes any two NULL for different, so the platform's own limits need an index of their own.
Index(
    "uq_limits_platform_name",
    Limit.name,
    unique=True,
    sqlite_where=Limit.tenant_id.is_(None),
    postgresql_where=Limit.tenant_id.is_(None),
)
