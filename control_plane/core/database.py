"""Opens the database: one engine, sessions that see the current tenant, SQLite made dependable."""

import contextlib
import decimal
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from control_plane.core import auditing, encryption, row_security, tenancy
from control_plane.core.crypto import Keyring
from control_plane.core.data_keys import DataKeys, refuse_other_masters
from control_plane.core.settings import Settings
from control_plane.core.waker import Waker

_BUSY_TIMEOUT_MS = 5000
# A plan for whatever tenant would lock the tables of all that have a schema.
_CONNECT_ARGS = {"connect_timeout": 5, "options": "-c plan_cache_mode=force_custom_plan"}
_BEGIN = "yumen_begin"
_GAVE_WAY = {"40P01", "55P03"}
"""PostgreSQL's SQLSTATEs of a deadlock, and of a lock that was not to be had in time."""


class Database:
    """The installation's database."""

    def __init__(self, settings: Settings) -> None:
        self.engine = _create_engine(settings)
        self._owner_url = settings.database.owner_url
        self.keyring = Keyring(settings)
        self._reader = self.engine.execution_options(**{_BEGIN: "BEGIN"})
        self.data_keys = DataKeys(settings)
        info = {"keyring": self.keyring, "data_keys": self.data_keys, "settings": settings}
        self._sessions = sessionmaker(expire_on_commit=False, info=info)
        event.listen(self._sessions, "do_orm_execute", tenancy.filter_statement)
        event.listen(self._sessions, "before_flush", tenancy.check_flush)
        # After the check, which gives new rows the tenant that they are encrypted for.
        event.listen(self._sessions, "before_flush", encryption.encrypt_flush)
        auditing.listen(self._sessions)
        self._waker = Waker(settings)
        self._waker.listen(self._sessions)

    @property
    def is_sqlite(self) -> bool:
        """Tell whether this is SQLite, which lacks some of PostgreSQL's guarantees."""
        return self.engine.dialect.name == "sqlite"

    def session(self, *, write: bool = True) -> Session:
        """Return a new session; on SQLite one that may write takes the write lock at its start."""
        return self._sessions(bind=self.engine if write else self._reader)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session that commits when the block ends well and rolls back otherwise."""
        with self.session() as session, session.begin():
            yield session

    @contextlib.contextmanager
    def owner_transaction(self) -> Iterator[Connection]:
        """Give a transaction of the role that owns the tables, in the platform's scope."""
        owner = self.engine
        if self._owner_url is not None:
            owner = create_engine(self._owner_url, poolclass=NullPool, connect_args=_CONNECT_ARGS)
            row_security.carry_scope(owner)
        with tenancy.platform_context(), owner.begin() as connection:
            yield connection

    def refuse_unsafe_start(self) -> None:
        """Stop a start that nothing good comes of; a database that is away is waited for.

        Raises:
            PowerfulRoleError: the application's role is above row-level security.
            SecretError: the master key is not the one that is needed.
        """
        with contextlib.suppress(DBAPIError), self.session(write=False) as session:
            refuse_other_masters(session)

    def close(self) -> None:
        """Close the pooled connections."""
        self._waker.close()
        self.engine.dispose()


def keyring(session: Session) -> Keyring:
    """Return the keyring of the installation that *session* belongs to."""
    return cast("Keyring", session.info["keyring"])


def settings(session: Session) -> Settings:
    """Return the settings of the installation that *session* belongs to."""
    return cast("Settings", session.info["settings"])


def is_busy(error: OperationalError) -> bool:
    """Tell whether a transaction gave way to others, so that the same may be tried again."""
    if isinstance(error.orig, sqlite3.OperationalError):
        return "locked" in str(error.orig)
    return getattr(error.orig, "sqlstate", None) in _GAVE_WAY


def _create_engine(settings: Settings) -> Engine:
    url = settings.database_url
    if not url.startswith("sqlite"):
        engine = create_engine(
            url,
            pool_size=settings.database.pool_size,
            pool_pre_ping=True,
            connect_args=_CONNECT_ARGS,
        )
        row_security.refuse_powerful_roles(engine)
        row_security.carry_scope(engine)
        return engine
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(
        url,
        pool_size=settings.database.pool_size,
        execution_options={_BEGIN: "BEGIN IMMEDIATE"},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """Turn on what SQLite leaves off; leave BEGIN to `_begin_sqlite`."""
    connection.isolation_level = None
    cast("sqlite3.Connection", connection).create_aggregate(
        "decimal_sum", 1, cast("Any", _DecimalSum)
    )
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {_BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Begin as writer or reader: a reader that becomes a writer cannot wait for the lock."""
    connection.exec_driver_sql(connection.get_execution_options()[_BEGIN])


class _DecimalSum:
    """SQLite aggregate that adds decimals kept as text, exactly."""

    _context = decimal.Context(prec=60)

    def __init__(self) -> None:
        self._total: Decimal | None = None

    def step(self, value: str | None) -> None:
        """Add one value."""
        if value is not None:
            start = Decimal(0) if self._total is None else self._total
            self._total = self._context.add(start, Decimal(value))

    def finalize(self) -> str | None:
        """Return the sum as text."""
        return None if self._total is None else format(self._total, "f")
