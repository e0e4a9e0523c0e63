"""Deletes what the database has confirmed and the retention time has passed, and empty journals."""

from collections.abc import Iterable
from pathlib import Path

import structlog

from control_plane.core import clock
from control_plane.shipper.reader import WriterJournal
from control_plane.shipper.shipping import Shipment

_STARTED_SECONDS = 60.0
"""A gateway worker that starts has its first segment long before."""

log = structlog.get_logger(__name__)


def delete_old(shipments: Iterable[Shipment], hours: float) -> int:
    """Delete confirmed segments last written *hours* ago, and ended journals; return how many.

    The journal of a worker that died before its first segment holds nothing, and goes at once.
    """
    now = clock.now().timestamp()
    before = now - hours * 3600
    deleted = 0
    for shipment in shipments:
        journal = shipment.journal
        if shipment.ended:
            deleted += _delete_journal(journal, before)
        elif _is_unused(journal, now - _STARTED_SECONDS):
            deleted += _delete_journal(journal, now)
        elif shipment.confirmed is not None:
            confirmed = shipment.confirmed.segment
            deleted += sum(
                _delete(journal.path(number), before)
                for number in journal.segments()
                if number < confirmed
            )
    return deleted


def _is_unused(journal: WriterJournal, before: float) -> bool:
    try:
        return journal.directory.stat().st_mtime < before and journal.check_unused()
    except FileNotFoundError:
        return False  # somebody else deleted it; the next `discover` sees that


def _delete_journal(journal: WriterJournal, before: float) -> int:
    # The lock goes last: a journal that lost it before its segments would never be read again.
    paths = sorted(journal.directory.iterdir(), key=lambda path: path.name == "lock")
    if any(path.stat().st_mtime > before for path in paths):
        return 0
    for path in paths:
        path.unlink()
    journal.directory.rmdir()
    log.info("journal deleted", directory=journal.directory.name)
    return len(paths)


def _delete(path: Path, before: float) -> int:
    if path.stat().st_mtime > before:
        return 0
    path.unlink()
    return 1
