"""Writes to the audit log what nothing did, and does to it what nothing may."""

import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import text

from control_plane.audit.models import AuditLog
from control_plane.core import auditing, tenancy
from control_plane.core.audit_entries import Action, Entry
from control_plane.core.database import Database

Logs = Callable[..., Sequence[AuditLog]]


def write(database: Database, tenant_id: uuid.UUID | None, count: int) -> None:
    """Record something *count* times, each time in a transaction of its own."""
    for number in range(count):
        with tenancy.platform_context(), database.transaction() as session:
            entry = Entry(Action.CALL, tenant_id, "thing", str(number), after={"number": number})
            auditing.record(session, entry)


def tamper(database: Database, *statements: str) -> None:
    """Do to the tables what the application cannot: as their owner, with the triggers off."""
    with database.owner_transaction() as owner:
        if database.is_sqlite:
            for name in ("update", "delete"):
                owner.execute(text(f"DROP TRIGGER IF EXISTS append_only_audit_logs_{name}"))
        else:
            owner.execute(text("ALTER TABLE audit_logs DISABLE TRIGGER USER"))
        for statement in statements:
            owner.execute(text(statement))
