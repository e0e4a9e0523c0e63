"""Keeps usage events in one partition a day on PostgreSQL, and drops days past their time."""

import datetime
import re
from collections.abc import Collection, Iterable

import structlog
from sqlalchemy import CursorResult, delete, inspect
from sqlalchemy.orm import Session

from control_plane.core import clock
from control_plane.core.database import Database
from control_plane.core.plugins import JobContext
from control_plane.core.tenancy import platform_context
from control_plane.usage.models import UsageEvent, UsageQuarantine, UsageWriter

_TABLE = UsageEvent.__tablename__
_PARTITION = re.compile(rf"{_TABLE}_([0-9]{{8}})")
_LOCK = 0x59557361
_DAYS_AHEAD = 3

log = structlog.get_logger(__name__)


class Partitions:
    """The days for which rows can be inserted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._existing: set[datetime.date] = set()

    def ensure(self, days: Iterable[datetime.date]) -> None:
        """Create the partitions of *days* that are missing; SQLite needs none."""
        missing = sorted(set(days) - self._existing)
        if not missing or self._database.is_sqlite:
            return
        with self._database.transaction() as session:
            create(session, missing)
        self._existing.update(missing)

    def forget(self) -> None:
        """Look anew the next time: a partition may have been dropped meanwhile."""
        self._existing.clear()


def create(session: Session, days: Collection[datetime.date]) -> None:
    """Create the partitions of *days* where they are missing; one process at a time."""
    connection = session.connection()
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    for day in days:
        after = day + datetime.timedelta(days=1)
        connection.exec_driver_sql(
            f"CREATE TABLE IF NOT EXISTS {_TABLE}_{day:%Y%m%d} PARTITION OF {_TABLE}"
            f" FOR VALUES FROM ('{day}') TO ('{after}')"
        )


def create_ahead(context: JobContext) -> None:
    """Create the partitions of the next days, so that no call waits for one."""
    today = clock.now().date()
    ahead = [today + datetime.timedelta(days=number) for number in range(_DAYS_AHEAD + 1)]
    Partitions(context.database).ensure(ahead)


def drop_old(context: JobContext) -> None:
    """Delete what is past `usage.retention_days`: whole partitions, or the rows on SQLite."""
    kept = datetime.timedelta(days=context.settings.usage.retention_days)
    before = clock.now() - kept
    with platform_context(), context.database.transaction() as session:
        if context.database.is_sqlite:
            gone = session.execute(delete(UsageEvent).where(UsageEvent.day < before.date()))
            dropped = gone.rowcount if isinstance(gone, CursorResult) else 0
        else:
            dropped = _drop_partitions(session, before.date())
        session.execute(
            delete(UsageWriter).where(UsageWriter.ended, UsageWriter.changed_at < before)
        )
        session.execute(delete(UsageQuarantine).where(UsageQuarantine.created_at < before))
    if dropped:
        log.info("usage past retention deleted", before=str(before.date()), dropped=dropped)


def _drop_partitions(session: Session, before: datetime.date) -> int:
    dropped = 0
    connection = session.connection()
    for name in inspect(connection).get_table_names():
        found = _PARTITION.fullmatch(name)
        if found and found[1] < f"{before:%Y%m%d}":
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
            dropped += 1
    return dropped
