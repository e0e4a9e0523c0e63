"""The tables of service clients and their secrets."""

import datetime
import uuid

from sqlalchemy import ForeignKey, ForeignKeyConstraint, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from control_plane.core.audit_entries import UNAUDITED
from control_plane.core.clock import now
from control_plane.core.ids import new_id
from control_plane.core.rotation import LiveSecret, SecretHolder
from control_plane.core.tables import Base
from control_plane.identity import SELF, RoleHolder


class ServiceClientSecret(LiveSecret, Base):
    """A secret by which a client gets access tokens; only a digest of it is kept."""

    __tablename__ = "service_client_secrets"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    client_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("service_clients.id", ondelete="CASCADE"), index=True
    )
    digest: Mapped[str] = mapped_column(String(64), info=UNAUDITED)


class ServiceClient(RoleHolder, SecretHolder, Base):
    """A program that signs in by itself; without a tenant it is one of the platform."""

    __tablename__ = "service_clients"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "custom_role_id"], ["roles.tenant_id", "roles.id"]),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime.datetime | None]
    last_used_at: Mapped[datetime.datetime | None] = mapped_column(info=UNAUDITED)
    secrets: Mapped[list[ServiceClientSecret]] = relationship(
        order_by=ServiceClientSecret.created_at, lazy="selectin", cascade="all, delete-orphan"
    )

    @property
    def may_act(self) -> bool:
        """Whether it is active and not over."""
        return self.is_active and (self.expires_at is None or self.expires_at > now())

    @property
    def rights(self) -> frozenset[str]:
        """The names of its permissions, without that to look after oneself: it has no password."""
        return frozenset(each.name for each in self.permissions) - {SELF.name}

    def __repr__(self) -> str:
        return f"<ServiceClient {self.id}>"
