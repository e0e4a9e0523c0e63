"""Tables of the room routing."""

import datetime
import uuid
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import now
from control_plane.core.conditions import Versioned
from control_plane.core.ids import new_id
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantFiltered, TenantScoped
from control_plane.core.types import Json


class Upstream(TenantFiltered, Versioned, Base):
    """Servers that answer alike, of a tenant, or of the platform when it has no tenant.

    Where the servers are is told by one of `targets`, `service` and `discovery`.
    """

    __tablename__ = "upstreams"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(100))
    is_shared: Mapped[bool]
    """Whether routes of tenants may name it; only of the platform's own."""
    scheme: Mapped[str] = mapped_column(String(8))
    pass_host: Mapped[str] = mapped_column(String(8))
    host: Mapped[str | None] = mapped_column(String(260))
    server_name: Mapped[str | None] = mapped_column(String(253))
    balancing: Mapped[str] = mapped_column(String(32))
    hash_on: Mapped[dict[str, Any] | None] = mapped_column(Json)
    targets: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    service: Mapped[dict[str, Any] | None] = mapped_column(Json)
    discovery: Mapped[str | None] = mapped_column(String(253), index=True)
    health_check: Mapped[dict[str, Any] | None] = mapped_column(Json)
    passive: Mapped[dict[str, Any] | None] = mapped_column(Json)
    retries: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)

    @property
    def tenant(self) -> uuid.UUID | None:
        """The tenant's id, as the document calls it."""
        return self.tenant_id


# SQL takes any two NULL for different, so the platform's own upstreams need an index of their own.
Index(
    "uq_upstreams_platform_name",
    Upstream.name,
    unique=True,
    sqlite_where=Upstream.tenant_id.is_(None),
    postgresql_where=Upstream.tenant_id.is_(None),
)


class Route(TenantScoped, Versioned, Base):
    """Which requests of a tenant go to an upstream, and what is done to them on the way."""

    __tablename__ = "routes"
    __allow_unmapped__ = True
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        UniqueConstraint("tenant_id", "name"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(60))
    priority: Mapped[int]
    is_active: Mapped[bool]
    domains: Mapped[list[str]]
    path: Mapped[dict[str, Any]] = mapped_column(Json)
    methods: Mapped[list[str] | None] = mapped_column(Json)
    headers: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    upstream_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("upstreams.id"), index=True)
    strip_prefix: Mapped[bool]
    rewrite: Mapped[dict[str, Any] | None] = mapped_column(Json)
    request_headers: Mapped[dict[str, Any]] = mapped_column(Json)
    response_headers: Mapped[dict[str, Any]] = mapped_column(Json)
    max_request_bytes: Mapped[int | None] = mapped_column(BigInteger)
    max_response_bytes: Mapped[int | None] = mapped_column(BigInteger)
    timeouts: Mapped[dict[str, Any]] = mapped_column(Json)
    web_socket: Mapped[dict[str, Any]] = mapped_column(Json)
    cors: Mapped[dict[str, Any] | None] = mapped_column(Json)
    allow_addresses: Mapped[list[str]]
    deny_addresses: Mapped[list[str]]
    authentication: Mapped[list[str]]
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)

    @property
    def upstream(self) -> uuid.UUID:
        """The upstream's id, as the document calls it."""
        return self.upstream_id

    upstream_name: str | None = None
    """What a manifest calls the upstream; set where manifests are made."""
