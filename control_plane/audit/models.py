"""Tables of the audit log, to which the database lets nobody do anything but add."""

import datetime
import uuid

from sqlalchemy import BigInteger, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.audit_entries import Action, Outcome
from control_plane.core.ids import new_id
from control_plane.core.occasions import ActorKind
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantFiltered
from control_plane.core.types import text_enum


class AuditLog(TenantFiltered, Base):
    """One thing that was done, in the chain of a tenant or, without one, of the platform.

    It stays when its tenant is purged. `before` and `after` are the text that was signed: a column
    of JSON would give it back in another order.
    """

    __tablename__ = "audit_logs"
    audited = False
    __table_args__ = (
        UniqueConstraint("tenant_id", "seq"),
        Index("ix_audit_logs_tenant_id_created_at", "tenant_id", "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID | None]
    seq: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime.datetime] = mapped_column(index=True)
    actor_type: Mapped[ActorKind] = mapped_column(text_enum(ActorKind))
    actor: Mapped[str | None] = mapped_column(Text)
    operation: Mapped[str] = mapped_column(Text)
    action: Mapped[Action] = mapped_column(text_enum(Action))
    resource_type: Mapped[str | None] = mapped_column(Text)
    resource_id: Mapped[str | None] = mapped_column(Text, index=True)
    outcome: Mapped[Outcome] = mapped_column(text_enum(Outcome))
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(String(128), index=True)
    address: Mapped[str | None] = mapped_column(String(45))
    prev: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


# SQL takes any two NULL for different, so the platform's own chain needs an index of its own.
Index(
    "uq_audit_logs_platform_seq",
    AuditLog.seq,
    unique=True,
    sqlite_where=AuditLog.tenant_id.is_(None),
    postgresql_where=AuditLog.tenant_id.is_(None),
)


class AuditCut(TenantFiltered, Base):
    """That the beginning of a chain was dropped when it was old enough: up to `seq`, whose hash is
    kept for the next one to hang on."""

    __tablename__ = "audit_cuts"
    audited = False

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(index=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime.datetime]
    proof: Mapped[str] = mapped_column(String(64))
