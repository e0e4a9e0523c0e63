"""Replaces data keys and master keys while everything runs, a bounded part in a transaction.

Nothing is written down about a rotation: what is left to do follows from what stands in the tables.
Whatever ends one in between, the next one goes on with it.

It never waits for a lock on a row while it holds one, so it cannot deadlock with others: rows that
somebody uses are passed over and come again.
"""

import contextlib
import threading
import uuid
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Table, bindparam, delete, literal, null, select, tuple_, update
from sqlalchemy.orm import Session

from control_plane.core import clock, encryption, tenancy
from control_plane.core.crypto import SecretError
from control_plane.core.data_keys import Cipher, DataKey, data_keys, wrapping_aad
from control_plane.core.database import Database
from control_plane.core.encryption import Place
from control_plane.core.master_keys import MasterKey

BATCH = 100
"""Rows, or keys, of one transaction."""

_PAUSE_SECONDS = 0.05
_REPORTED_ROWS = 1000

Report = Callable[[str], None]
Unreadable = tuple[str, uuid.UUID]
"""A column, and the row of which it holds a secret that cannot be decrypted."""


class Rotation:
    """One run over all encrypted columns of *tables*; to be used in the platform's scope."""

    def __init__(self, database: Database, tables: Sequence[Table], report: Report) -> None:
        self._database = database
        self._columns = encryption.encrypted_columns(tables)
        self._report = report
        self._pause = threading.Event()
        self.unreadable: set[Unreadable] = set()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Session]:
        """Give a transaction, then leave the database to others for as long as it took."""
        started = clock.monotonic()
        with self._database.transaction() as session:
            yield session
        self._pause.wait(clock.monotonic() - started)

    def renew_data_keys(self) -> None:
        """Give a new key to every tenant, and the platform, whose former one is not retired yet."""
        with self._database.session(write=False) as session:
            rows = session.execute(select(DataKey.tenant_id, DataKey.retired_at)).all()
        under_way = {tenant_id for tenant_id, retired_at in rows if retired_at is not None}
        owners = {tenant_id for tenant_id, _ in rows} - under_way
        for owner in owners:
            with self._transaction() as session:
                data_keys(session).renew(session, owner)
        self._report(f"{len(owners)} data keys are new.")

    def reencrypt(self) -> None:
        """Encrypt with current keys what is not, then drop the keys that nothing needs any more."""
        query = select(DataKey.id).where(DataKey.retired_at.is_not(None))
        with self._database.session(write=False) as session:
            retired = session.scalars(query).all()
        # The former version had no data key.
        former = {*retired, None}
        for column in self._columns:
            done = 0
            while (changed := self._pass(column, former, done)) is not None:
                done += changed
                if not changed:
                    self._pause.wait(_PAUSE_SECONDS)
            self._report(f"{column}: {done} secrets are encrypted anew.")
        if not self.unreadable:
            for start in range(0, len(retired), BATCH):
                ids = retired[start : start + BATCH]
                with self._transaction() as session:
                    session.execute(delete(DataKey).where(DataKey.id.in_(ids)))

    def _pass(
        self, column: Column[Any], former: Container[uuid.UUID | None], done: int
    ) -> int | None:
        """Go through a column once; return how many rows were changed, None if none had to be."""
        changed, is_over = 0, True
        for page in self._pages(column):
            old = [
                key
                for *key, row_id, secret in page
                if encryption.key_of(secret) in former
                and (str(column), row_id) not in self.unreadable
            ]
            if not old:
                continue
            is_over = False
            with self._transaction() as session:
                changed += _reencrypt(session, column, old, self.unreadable)
            if (done + changed) % _REPORTED_ROWS < BATCH:
                self._report(f"{column}: {done + changed} …")
        return None if is_over else changed

    def _pages(self, column: Column[Any]) -> Iterator[Sequence[Any]]:
        """Yield primary key, id and secret of the rows that have one in *column*."""
        key: list[Column[Any]] = list(column.table.primary_key)
        query = select(*(each.label(None) for each in key), column.table.c.id, column)
        query = query.where(column.is_not(None)).order_by(*key).limit(BATCH)
        with self._database.session(write=False) as session:
            page = session.execute(query).all()
        while page:
            yield page
            last = [literal(value, each.type) for each, value in zip(key, page[-1], strict=False)]
            with self._database.session(write=False) as session:
                page = session.execute(query.where(tuple_(*key) > tuple_(*last))).all()

    def rewrap(self) -> None:
        """Wrap every data key with the newest master key; first make one, if all are already."""
        masters = self._database.data_keys.masters
        newest = masters.read()[0]
        if not self._wrapped_by_others(newest):
            # A process may wrap with the present one for a moment yet, so that one stays too.
            newest = masters.renew(kept={newest.id})
            self._report(f"The master key {newest.id} is new.")
        done = 0
        while self._wrapped_by_others(newest):
            with self._transaction() as session:
                changed = _rewrap(session, newest)
            done += changed
            if not changed:
                self._pause.wait(_PAUSE_SECONDS)
        self._report(f"{done} data keys are wrapped by the master key {newest.id}.")

    def _wrapped_by_others(self, master: MasterKey) -> bool:
        others = select(DataKey.id).where(DataKey.master_id != master.id).limit(1)
        with self._database.session(write=False) as session:
            return session.scalar(others) is not None


def rotate(
    database: Database, tables: Sequence[Table], report: Report, *, master: bool, data: bool
) -> set[Unreadable]:
    """Rotate what is asked for; return what could not be decrypted.

    As long as there are such secrets no key is dropped.
    """
    rotation = Rotation(database, tables, report)
    with tenancy.platform_context():
        if data:
            rotation.renew_data_keys()
        rotation.reencrypt()
        if master and not rotation.unreadable:
            rotation.rewrap()
    return rotation.unreadable


def _reencrypt(
    session: Session,
    column: Column[Any],
    keys: Sequence[Sequence[Any]],
    unreadable: set[Unreadable],
) -> int:
    """Encrypt those of the rows *keys* anew that nobody uses just now; return how many."""
    table = column.table
    key: list[Column[Any]] = list(table.primary_key)
    owner = table.c.get("tenant_id", null())
    query = select(*(each.label(None) for each in key), table.c.id, column, owner)
    query = query.where(tuple_(*key).in_(keys), column.is_not(None))
    ciphers: dict[uuid.UUID | None, Cipher] = {}
    changes = []
    for *values, row_id, secret, tenant_id in session.execute(
        query.with_for_update(skip_locked=True, key_share=True)
    ):
        place = Place(tenant_id, table.name, column.name, row_id)
        try:
            clear = encryption.decrypt(session, place, secret)
        except SecretError:
            unreadable.add((str(column), row_id))
            continue
        if tenant_id not in ciphers:
            ciphers[tenant_id] = data_keys(session).current(session, tenant_id)
        renewed = encryption.encrypt(ciphers[tenant_id], place, clear)
        changes.append({f"key_{at}": value for at, value in enumerate(values)} | {"new": renewed})
    if changes:
        # For the API this is no change: neither the version nor the time of the last one moves.
        kept = {each.name: each for each in table.c if each.onupdate is not None}
        same = [each == bindparam(f"key_{at}") for at, each in enumerate(key)]
        changed = {**kept, column.name: bindparam("new")}
        session.execute(update(table).where(*same).values(changed), changes)
    return len(changes)


def _rewrap(session: Session, master: MasterKey) -> int:
    """Wrap some keys with *master* that nobody uses just now; return how many."""
    masters = data_keys(session).masters
    query = select(DataKey.id, DataKey.tenant_id, DataKey.master_id, DataKey.wrapped)
    query = query.where(DataKey.master_id != master.id).order_by(DataKey.id).limit(BATCH)
    changes = []
    for key_id, tenant_id, former_id, wrapped in session.execute(
        query.with_for_update(skip_locked=True)
    ):
        aad = wrapping_aad(key_id, tenant_id)
        key = masters.unwrap(former_id, wrapped, aad)
        changes.append({"id": key_id, "master_id": master.id, "wrapped": master.wrap(key, aad)})
    if changes:
        session.execute(update(DataKey), changes)
    return len(changes)
