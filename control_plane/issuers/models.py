"""The tables of the room issuers."""

import datetime
import uuid
from typing import Any

from sqlalchemy import ForeignKeyConstraint, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from control_plane.core.clock import now
from control_plane.core.conditions import Versioned
from control_plane.core.ids import new_id
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantScoped
from control_plane.core.types import Json


class KeySet(TenantScoped, Base):
    """The public keys of an issuer as they were fetched last.

    They stand apart from the issuer, whose version is that of what people edit.
    """

    __tablename__ = "issuer_key_sets"
    audited = False
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "issuer_id"], ["issuers.tenant_id", "issuers.id"], ondelete="CASCADE"
        ),
        UniqueConstraint("tenant_id", "issuer_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    issuer_id: Mapped[uuid.UUID]
    keys: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    """As the gateway takes them: `kid`, `algorithm`, `publicKey`."""
    fetched_at: Mapped[datetime.datetime | None]
    error: Mapped[str | None] = mapped_column(Text)
    """Why they could not be fetched the last time."""
    due_at: Mapped[datetime.datetime] = mapped_column(default=now, index=True)


class Issuer(TenantScoped, Versioned, Base):
    """Somebody who gives a tenant's end users tokens that the gateway takes."""

    __tablename__ = "issuers"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        UniqueConstraint("tenant_id", "issuer"),
        UniqueConstraint("tenant_id", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    issuer: Mapped[str] = mapped_column(String(255))
    jwks_url: Mapped[str | None] = mapped_column(String(1024))
    audiences: Mapped[list[str]]
    algorithms: Mapped[list[str]]
    user_claim: Mapped[str] = mapped_column(String(100))
    clock_leeway: Mapped[int] = mapped_column(Integer)
    is_active: Mapped[bool]
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    key_set: Mapped[KeySet] = relationship(
        lazy="joined", innerjoin=True, cascade="all, delete-orphan", passive_deletes=True
    )
