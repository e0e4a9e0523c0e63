"""Keeps usage events in one partition a day on PostgreSQL, and drops days past their time.

The application's role does not own the table: functions of the database (revision usage_0002) make
and drop its days.
"""

import datetime
from collections.abc import Collection, Iterable

import structlog
from sqlalchemy import CursorResult, delete, func, select
from sqlalchemy.orm import Session

from control_plane.core import clock, locks
from control_plane.core.database import Database
from control_plane.core.plugins import JobContext
from control_plane.core.tenancy import platform_context
from control_plane.usage.models import UsageEvent, UsageQuarantine, UsageWriter

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
    locks.hold(session, _LOCK)
    for day in days:
        session.execute(select(func.yumen_add_usage_day(day)))


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
            dropped = session.scalar(select(func.yumen_drop_usage_days(before.date()))) or 0
        session.execute(
            delete(UsageWriter).where(UsageWriter.ended, UsageWriter.changed_at < before)
        )
        session.execute(delete(UsageQuarantine).where(UsageQuarantine.created_at < before))
    if dropped:
        log.info("usage past retention deleted", before=str(before.date()), dropped=dropped)
