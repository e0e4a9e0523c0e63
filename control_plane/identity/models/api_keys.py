"""The tables of API keys and their secrets."""

import datetime
import uuid

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from control_plane.core.audit_entries import UNAUDITED
from control_plane.core.clock import now
from control_plane.core.ids import new_id
from control_plane.core.rotation import LiveSecret, SecretHolder
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantScoped

KEY_PREFIX = "ym_live_"


class APIKeySecret(TenantScoped, LiveSecret, Base):
    """One text of a key that the gateway takes; only a digest of it is kept."""

    __tablename__ = "api_key_secrets"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "key_id"], ["api_keys.tenant_id", "api_keys.id"], ondelete="CASCADE"
        ),
        Index("ix_api_key_secrets_tenant_id_key_id", "tenant_id", "key_id"),
    )

    # Unique over all tenants: the gateway finds a secret by it.
    public_id: Mapped[str] = mapped_column(String(12), primary_key=True)
    tenant_id: Mapped[uuid.UUID] = mapped_column()
    key_id: Mapped[uuid.UUID]
    digest: Mapped[str] = mapped_column(String(64), info=UNAUDITED)

    @property
    def prefix(self) -> str:
        """How its text begins; it can be shown."""
        return KEY_PREFIX + self.public_id


class APIKey(TenantScoped, SecretHolder, Base):
    """What a tenant's programs identify themselves with at the gateway, and what it allows.

    A list is what it is limited to; None is no limit.
    """

    __tablename__ = "api_keys"
    __table_args__ = (UniqueConstraint("tenant_id", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    models: Mapped[list[str] | None]
    endpoints: Mapped[list[str] | None]
    methods: Mapped[list[str] | None]
    addresses: Mapped[list[str] | None]
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime.datetime | None]
    last_used_at: Mapped[datetime.datetime | None] = mapped_column(info=UNAUDITED)
    revoked_at: Mapped[datetime.datetime | None]
    secrets: Mapped[list[APIKeySecret]] = relationship(
        order_by=APIKeySecret.created_at, lazy="selectin", cascade="all, delete-orphan"
    )

    @property
    def prefix(self) -> str:
        """How the newest secret's text begins."""
        return self.secrets[-1].prefix
