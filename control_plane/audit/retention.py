"""Drops the beginnings of chains that are past their time, in a way that can be verified."""

import datetime
import uuid

import structlog
from sqlalchemy import CursorResult, delete, func, select
from sqlalchemy.orm import Session

from control_plane.audit import chain, recording
from control_plane.audit.chain import Link
from control_plane.audit.models import AuditCut, AuditLog
from control_plane.core import clock
from control_plane.core.database import keyring
from control_plane.core.plugins import JobContext
from control_plane.core.tenancy import platform_context

log = structlog.get_logger(__name__)


def drop_old(context: JobContext) -> None:
    """Drop what is older than `audit.retention_days`, as the worker's job."""
    before = clock.now() - datetime.timedelta(days=context.settings.audit.retention_days)
    with platform_context():
        with context.database.session(write=False) as session:
            old = select(AuditLog.tenant_id).where(AuditLog.created_at < before).distinct()
            chains = session.scalars(old).all()
        for tenant_id in chains:
            with context.database.transaction() as session:
                dropped = cut(session, tenant_id, before)
            if dropped:
                log.info("audit_log_cut", chain=chain.name_of(tenant_id), dropped=dropped)


def cut(session: Session, tenant_id: uuid.UUID | None, before: datetime.datetime) -> int:
    """Drop the rows of a chain that are older than *before*; return how many.

    The last row stays, whatever its age: without it nobody could tell what was cut off after it.
    """
    recording.hold(session, tenant_id)
    mine = chain.of(AuditLog, tenant_id)
    kept = select(func.min(AuditLog.seq)).where(mine, AuditLog.created_at >= before)
    last = select(func.max(AuditLog.seq)).where(mine)
    first_kept = session.scalar(kept) or session.scalar(last) or 0
    end = session.execute(
        select(AuditLog.seq, AuditLog.hash)
        .where(mine, AuditLog.seq < first_kept)
        .order_by(AuditLog.seq.desc())
        .limit(1)
    ).one_or_none()
    if end is None:
        return 0
    link, key = Link(*end), chain.key_of(keyring(session))
    session.add(
        AuditCut(
            tenant_id=tenant_id,
            seq=link.seq,
            hash=link.hash,
            created_at=clock.now(),
            proof=chain.proof_of(key, tenant_id, link),
        )
    )
    session.flush()
    if session.get_bind().dialect.name == "postgresql":
        return session.scalar(select(func.yumen_trim_audit_logs())) or 0
    gone = session.execute(delete(AuditLog).where(mine, AuditLog.seq <= link.seq))
    return gone.rowcount if isinstance(gone, CursorResult) else 0
