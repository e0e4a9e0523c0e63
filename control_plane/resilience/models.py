"""Tables of the room resilience."""

import datetime
import uuid
from typing import TYPE_CHECKING, cast

from sqlalchemy import ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import now
from control_plane.core.conditions import Versioned
from control_plane.core.ids import new_id
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantFiltered
from control_plane.core.types import Json

if TYPE_CHECKING:
    from control_plane.monitoring import BreakerState


class CircuitBreaker(TenantFiltered, Versioned, Base):
    """When calls of a service are no longer made, and when they are tried again."""

    __tablename__ = "circuit_breakers"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id"), index=True)
    """Whose calls it is about; null is everybody's."""
    name: Mapped[str] = mapped_column(String(200))
    service: Mapped[str] = mapped_column(String(48), index=True)
    """The key of the service: `model:<id>` or `upstream:<id>`."""
    service_name = ""
    """What the service is called, once `breakers.named` looked it up."""
    state = cast("BreakerState | None", None)
    """What state it is in, once `states.with_state` asked the nodes."""
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    endpoint: Mapped[str | None] = mapped_column(String(255))
    mode: Mapped[str] = mapped_column(String(16))
    failure_threshold: Mapped[int] = mapped_column(Integer)
    minimum_calls: Mapped[int] = mapped_column(Integer)
    window_seconds: Mapped[int] = mapped_column(Integer)
    slow_call_milliseconds: Mapped[int | None] = mapped_column(Integer)
    slow_call_threshold: Mapped[int] = mapped_column(Integer)
    consecutive_failures: Mapped[int | None] = mapped_column(Integer)
    reset_timeout: Mapped[int] = mapped_column(Integer)
    max_reset_timeout: Mapped[int] = mapped_column(Integer)
    half_open_permits: Mapped[int] = mapped_column(Integer)
    counted_statuses: Mapped[list[int]] = mapped_column(Json)


# SQL takes any two NULL for different, so the platform's own breakers need an index of their own.
Index(
    "uq_circuit_breakers_platform_name",
    CircuitBreaker.name,
    unique=True,
    sqlite_where=CircuitBreaker.tenant_id.is_(None),
    postgresql_where=CircuitBreaker.tenant_id.is_(None),
)
