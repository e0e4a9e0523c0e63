"""How fast many writers append to one chain of the audit log, and how fast it is verified."""

import threading
import time

from sqlalchemy.exc import OperationalError

from control_plane.audit import chain, verification
from control_plane.core import auditing
from control_plane.core.audit_entries import Action, Entry
from control_plane.core.database import Database, is_busy
from control_plane.core.tenancy import platform_context
from tests.bench.installation import DATABASES, running
from tests.bench.report import Figure, console, table

WRITERS = 16
ROWS = 500
LEAST_ROWS_A_SECOND = 300


def bench(size: float) -> list[Figure]:
    """Let writers append, a transaction a row; the chain must not fork, and every row be there."""
    shown = table(f"{WRITERS} writers to one chain", "<database", "rows", "appended", "verified")
    figures = []
    for name in DATABASES:
        # A connection for each: who waits for a free one waits in no order.
        with running(name, {"YUMEN_DATABASE_POOL_SIZE": str(WRITERS)}) as installation:
            database = installation.database
            before = _rows(database)
            appending = _append(database, round(ROWS * size))
            rows = _rows(database) - before
            start = time.perf_counter()
            _refuse_faults(database)
            verifying = time.perf_counter() - start
        if rows != WRITERS * round(ROWS * size):
            raise RuntimeError(f"{rows} rows were appended")
        speeds = (rows / appending, (rows + before) / verifying)
        shown.add_row(name, f"{rows:,}", *(f"{speed:,.0f} rows/s" for speed in speeds))
        what = f"audit log, {name}: {WRITERS} writers append"
        figures.append(Figure(what, speeds[0], "rows/s", least=LEAST_ROWS_A_SECOND))
    console.print(shown)
    return figures


def _append(database: Database, rows: int) -> float:
    """Return the seconds that all writers took for *rows* each."""
    failed: list[BaseException] = []
    threads = [
        threading.Thread(target=_write, args=(database, rows, failed)) for _ in range(WRITERS)
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return time.perf_counter() - start


def _write(database: Database, rows: int, failed: list[BaseException]) -> None:
    try:
        for number in range(rows):
            while not _written(database, number):
                pass
    except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
        failed.append(error)


def _written(database: Database, number: int) -> bool:
    """Append a row; tell whether it was, because SQLite lets some wait for ever among so many."""
    values = {"name": f"Tenant {number}", "status": "active"}
    try:
        with platform_context(), database.transaction() as session:
            entry = Entry(Action.UPDATE, None, "tenant", str(number), values, values)
            auditing.record(session, entry)
    except OperationalError as error:
        if not is_busy(error):
            raise
        return False
    return True


def _rows(database: Database) -> int:
    with platform_context(), database.session(write=False) as session:
        return verification.count(session, chain.PLATFORM)


def _refuse_faults(database: Database) -> None:
    key = chain.key_of(database.keyring)
    with platform_context(), database.session(write=False) as session:
        for fault in verification.verify(session, key, {}, chain.PLATFORM):
            raise RuntimeError(str(fault))
