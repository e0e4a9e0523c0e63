"""Tables of the room resilience."""

import dataclasses
import datetime
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

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

FALLBACKS = ("model", "upstream")
"""Parameters of a degradation rule that name another service."""


class ServiceRule(TenantFiltered):
    """A setting for the calls of one service: everybody's, or those of a tenant."""

    service_name = ""
    """What the service is called, once `name_services` was told."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id"), index=True)
    """Whose calls it is about; null is everybody's."""
    name: Mapped[str] = mapped_column(String(200))
    service: Mapped[str] = mapped_column(String(48), index=True)
    """The key of the service: `model:<id>` or `upstream:<id>`."""
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)

    @property
    def services(self) -> list[str]:
        """The keys of the services that it speaks of."""
        return [self.service]

    def name_services(self, names: Mapping[str, str]) -> None:
        """Take over what the services are called."""
        self.service_name = names[self.service]


class CircuitBreaker(ServiceRule, Versioned, Base):
    """When calls of a service are no longer made, and when they are tried again."""

    __tablename__ = "circuit_breakers"
    state = cast("BreakerState | None", None)
    """What state it is in, once `states.with_state` asked the nodes."""
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)

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


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """Whether a rule is in force (None: not known), since when, and why."""

    active: bool | None
    since: datetime.datetime | None
    reason: str | None


class DegradationRule(ServiceRule, Versioned, Base):
    """What is done with the calls of a service while a condition holds."""

    __tablename__ = "degradation_rules"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)

    condition: Mapped[str] = mapped_column(String(500))
    clear_condition: Mapped[str | None] = mapped_column(String(500))
    for_seconds: Mapped[int] = mapped_column(Integer)
    clear_for_seconds: Mapped[int] = mapped_column(Integer)
    ttl_seconds: Mapped[int] = mapped_column(Integer)
    dry_run: Mapped[bool]
    enabled: Mapped[bool]
    action: Mapped[str] = mapped_column(String(32))
    stored_parameters: Mapped[dict[str, Any]] = mapped_column("parameters", Json)
    """As gateways get them: with the id of another service where people have its name."""

    fallback_name = ""
    """What the service of a fallback is called, once `name_services` was told."""
    standing = cast("Standing | None", None)
    """Whether it is in force, once `reports.with_report` asked the worker's."""

    @property
    def fallback(self) -> str | None:
        """The key of the service that is called instead, if there is one."""
        for kind in FALLBACKS:
            if self.stored_parameters.get(kind):
                return f"{kind}:{self.stored_parameters[kind]}"
        return None

    @property
    def parameters(self) -> dict[str, Any]:
        """How the action is done, by the attributes of the schema, with names of services."""
        stored = self.stored_parameters
        if self.fallback is None:
            return stored
        return {**stored, self.fallback.partition(":")[0]: self.fallback_name}

    @property
    def services(self) -> list[str]:
        """The keys of the service and of the one that is called instead."""
        return [self.service, *filter(None, [self.fallback])]

    def name_services(self, names: Mapping[str, str]) -> None:
        """Take over what the services are called."""
        super().name_services(names)
        self.fallback_name = names[self.fallback] if self.fallback else ""


# SQL takes any two NULL for different, so the platform's own rules need an index of their own.
for _entity in (CircuitBreaker, DegradationRule):
    Index(
        f"uq_{_entity.__tablename__}_platform_name",
        _entity.name,
        unique=True,
        sqlite_where=_entity.tenant_id.is_(None),
        postgresql_where=_entity.tenant_id.is_(None),
    )
