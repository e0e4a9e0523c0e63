"""Lets one of several processes lead, and another take over when it dies."""

import fcntl
import os
import zlib

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from control_plane.core.database import Database
from control_plane.core.settings import Settings


class Leader:
    """A lock that dies with its holder: an advisory lock on PostgreSQL, a locked file on SQLite.

    It only keeps processes out of each other's way. A leader that stalled may wake up after it was
    replaced, so what must not happen twice needs a fence of its own.
    """

    def __init__(self, settings: Settings, database: Database, name: str) -> None:
        self._database = database
        self._path = settings.state / "run" / f"{name}.lock"
        self._number = zlib.crc32(f"yumen:{name}".encode())
        self._file: int | None = None
        self._connection: Connection | None = None

    def holds(self) -> bool:
        """Take the lead if nobody has it; tell whether this process has it."""
        return self._holds_file() if self._database.is_sqlite else self._holds_lock()

    def release(self) -> None:
        """Give the lead up."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._connection is not None:
            # Ended, not returned to the pool: the lock belongs to the server's session.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _holds_file(self) -> bool:
        if self._file is not None:
            return True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def _holds_lock(self) -> bool:
        try:
            if self._connection is not None:
                self._connection.execute(select(1))
                return True
            connection = self._database.engine.connect().execution_options(
                isolation_level="AUTOCOMMIT"
            )
            taken = connection.scalar(select(func.pg_try_advisory_lock(self._number)))
        except SQLAlchemyError:
            self.release()
            raise
        if not taken:
            connection.close()
            return False
        self._connection = connection
        return True
