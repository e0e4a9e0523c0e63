"""Rotation: every secret stays readable, whoever writes meanwhile and whatever ends it."""

import contextlib
import itertools
import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from control_plane.core import clock, crypto, key_rotation, tenancy
from control_plane.core.crypto import SecretError
from control_plane.core.data_keys import KEPT_SECONDS, DataKey, DataKeys, data_keys, destroy
from control_plane.core.database import Database
from control_plane.core.encryption import key_of, reveal
from control_plane.core.key_rotation import rotate
from control_plane.core.master_keys import MasterKeys
from control_plane.core.settings import Settings
from control_plane.core.types import Secret
from tests import factories, vaults
from tests.stack import until
from tests.vaults import TABLES, Chest, Safe, Vault

TENANTS = [uuid.uuid4() for _ in range(5)]
ENTITIES: tuple[type[Any], ...] = (Vault, Safe, Chest)
LOAD_ROWS = 10_000
EVEN, ODD = slice(0, None, 2), slice(1, None, 2)
"""Those who change rows keep out of each other's way."""


@pytest.fixture
def database(database: Database) -> Database:
    vaults.create(database)
    return database


@contextlib.contextmanager
def platform(database: Database) -> Iterator[Session]:
    with tenancy.platform_context(), database.transaction() as session:
        yield session


def fill(database: Database, count: int) -> None:
    """Add rows of several tenants and of the platform; each one's name is its secret's text."""
    with platform(database) as session:
        for number in range(count):
            tenant_id = TENANTS[number % 5]
            kinds = {8: Safe(tenant_id=tenant_id), 9: Chest()}
            row = kinds.get(number % 10, Vault(tenant_id=tenant_id))
            session.add(named(row, f"secret {number}"))


def named(row: Any, text: str) -> Any:
    row.name, row.secret = text, Secret(text)
    return row


def turn(database: Database, *, master: bool = True, data: bool = True) -> set[Any]:
    return rotate(database, TABLES, lambda _: None, master=master, data=data)


def check(settings: Settings) -> Counter[str]:
    """See that a process that starts now can read all; return how many keys are in which state."""
    opened = Database(settings)
    with platform(opened) as session:
        rows = [row for entity in ENTITIES for row in session.scalars(select(entity))]
        assert [row.name for row in rows] == [
            reveal(row, type(row).secret)  # type: ignore[attr-defined]
            for row in rows
        ]
        retired = session.scalars(select(DataKey.retired_at)).all()
        used = {key_of(row.secret) for row in rows}
        assert used <= set(session.scalars(select(DataKey.id)))
    opened.close()
    return Counter("current" if each is None else "retired" for each in retired)


def snapshot(database: Database) -> dict[uuid.UUID, tuple[Any, ...]]:
    with platform(database) as session:
        return {
            row.id: (row.secret.ciphertext, row.version, row.updated_at)
            for entity in ENTITIES
            for row in session.scalars(select(entity))
        }


def test_everything_is_encrypted_anew_and_nothing_else_changes(
    database: Database, settings: Settings
) -> None:
    fill(database, 30)
    before, masters = snapshot(database), MasterKeys(settings).read()
    assert turn(database) == set()
    after = snapshot(database)
    assert before.keys() == after.keys()
    assert not {row[0] for row in before.values()} & {row[0] for row in after.values()}
    assert [row[1:] for row in before.values()] == [row[1:] for row in after.values()]
    assert check(settings) == {"current": 6}
    new = MasterKeys(settings).read()
    assert [key.id for key in new[1:]] == [key.id for key in masters]
    with platform(database) as session:
        assert set(session.scalars(select(DataKey.master_id))) == {new[0].id}
    assert turn(database) == set()
    assert len(MasterKeys(settings).read()) == 2
    assert check(settings) == {"current": 6}


@pytest.mark.parametrize("master", [True, False])
def test_one_kind_of_key_can_be_rotated_alone(
    database: Database, settings: Settings, *, master: bool
) -> None:
    fill(database, 10)
    before, masters = snapshot(database), MasterKeys(settings).read()
    turn(database, master=master, data=not master)
    assert (snapshot(database) == before) is master
    assert (MasterKeys(settings).read() == masters) is not master
    check(settings)


def test_what_the_master_key_itself_has_encrypted_gets_a_data_key(
    database: Database, settings: Settings
) -> None:
    fill(database, 10)
    cipher = MasterKeys(settings).newest().cipher
    with platform(database) as session:
        for row in [row for entity in ENTITIES for row in session.scalars(select(entity))]:
            place = f"{type(row).__tablename__}|secret|{row.id}"
            former = Secret(ciphertext="v1." + crypto.encrypt(cipher, row.name, place))
            entity = type(row)
            session.execute(update(entity).where(entity.id == row.id).values(secret=former))
        session.execute(delete(DataKey))
    assert turn(database, data=False) == set()
    assert turn(database, data=False) == set()  # the file has lost that master key by now
    assert check(settings) == {"current": 6}


class EndedError(Exception):
    """Ends a rotation where a killed process would end it."""


def ending(database: Database, after: int) -> Callable[[], None]:
    """Let *database* give no transaction after a number of them, until the returned is called."""
    given = database.transaction
    left = iter(range(after))

    def transaction() -> Any:
        if next(left, None) is None:
            raise EndedError
        return given()

    database.transaction = transaction  # type: ignore[method-assign]
    return lambda: setattr(database, "transaction", given)


def test_a_rotation_may_end_anywhere(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended after each number of its transactions, and the next one goes on."""
    monkeypatch.setattr(key_rotation, "BATCH", 2)
    fill(database, 12)
    for points in itertools.count():
        restore = ending(database, points)
        with contextlib.suppress(EndedError):
            turn(database)
            break
        restore()
        check(settings)
        assert turn(database) == set()
        assert check(settings) == {"current": 6}
        assert len(MasterKeys(settings).read()) == 2
    assert points > 15


def test_a_secret_that_cannot_be_read_is_named_and_keeps_every_key(
    database: Database, settings: Settings
) -> None:
    fill(database, 10)
    with platform(database) as session:
        first, second = session.scalars(select(Vault).order_by(Vault.id).limit(2))
        good, row_id = second.secret, second.id
        moved = update(Vault).where(Vault.id == row_id)
        session.execute(moved.values(secret=first.secret))
    masters = MasterKeys(settings).read()
    assert turn(database) == {("vaults.secret", row_id)}
    assert MasterKeys(settings).read() == masters
    with platform(database) as session:
        session.execute(moved.values(secret=good))
    assert check(settings) == {"current": 6, "retired": 6}
    assert turn(database) == set()
    assert check(settings) == {"current": 6}


def test_a_purged_tenants_rows_cannot_be_read_from_a_backup(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, 10)
    tenant_id = TENANTS[0]
    with tenancy.tenant_context(tenant_id), database.transaction() as session:
        kept = [(row.id, row.name, row.secret) for row in session.scalars(select(Vault))]
        session.execute(delete(Vault))
        destroy(session, tenant_id)
    with platform(database) as session:
        assert tenant_id not in set(session.scalars(select(DataKey.tenant_id)))
        for row_id, name, secret in kept:  # as a dump has them
            session.execute(
                Vault.metadata.tables["vaults"].insert(),
                {"id": row_id, "tenant_id": tenant_id, "name": name, "secret": secret},
            )
    # A process that knew the key forgets it within a minute.
    later = clock.monotonic() + KEPT_SECONDS
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    turn(database)
    with platform(database) as session:
        for row in session.scalars(select(Vault).where(Vault.tenant_id == tenant_id)):
            with pytest.raises(SecretError, match="no data key"):
                reveal(row, Vault.secret)


def test_the_purge_of_a_tenant_destroys_its_keys(database: Database) -> None:
    mine, other = factories.make_tenant(database), factories.make_tenant(database)
    with platform(database) as session:
        for tenant in (mine, other):
            data_keys(session).current(session, tenant.id)
        data_keys(session).renew(session, mine.id)
    factories.purge_tenant(database, mine)
    with platform(database) as session:
        assert set(session.scalars(select(DataKey.tenant_id))) == {other.id}


class Load:
    """Threads that read, change and add secrets until it is over, and note what goes wrong."""

    def __init__(self, settings: Settings) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: list[Exception] = []
        self._over = threading.Event()
        self._database = Database(settings)
        with platform(self._database) as session:
            self._ids = list(session.scalars(select(Vault.id)))
        kinds = (self._read, self._read, self._change, self._rename, self._add)
        self._threads = [threading.Thread(target=self._run, args=(kind,)) for kind in kinds]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        until(lambda: len(self.counts) == 4, "everybody is at work", 20)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._database.close()

    def _run(self, kind: Callable[[Session, random.Random], None]) -> None:
        chance = random.Random(kind.__name__)
        while not self._over.is_set():
            # On SQLite whoever writes without a pause keeps everybody else from it.
            self._over.wait(0.002)
            try:
                with platform(self._database) as session:
                    kind(session, chance)
                self.counts[kind.__name__] += 1
            except Exception as error:  # noqa: BLE001 - there must be none at all
                self.errors.append(error)

    def _some(self, session: Session, chance: random.Random, part: slice = slice(None)) -> Vault:
        return session.get_one(Vault, chance.choice(self._ids[part]))

    def _read(self, session: Session, chance: random.Random) -> None:
        row = self._some(session, chance)
        while reveal(row, Vault.secret) != row.name:
            # It was changed between the two statements in which a rotation made it be read again.
            session.refresh(row)

    def _change(self, session: Session, chance: random.Random) -> None:
        named(self._some(session, chance, EVEN), f"changed {chance.random()}")

    def _rename(self, session: Session, chance: random.Random) -> None:
        row = self._some(session, chance, ODD)
        text = f"other {chance.random()}"
        row.other = Secret(text)
        session.flush()
        assert reveal(row, Vault.other) == text

    def _add(self, session: Session, chance: random.Random) -> None:
        tenant_id = chance.choice([*TENANTS, uuid.uuid4()])
        session.add(named(Vault(tenant_id=tenant_id), f"added {chance.random()}"))


def test_ten_thousand_rows_are_rotated_under_load_without_an_error(
    database: Database, settings: Settings
) -> None:
    fill(database, LOAD_ROWS)
    before = {row_id: row[0] for row_id, row in snapshot(database).items()}
    with platform(database) as session:
        old = set(session.scalars(select(DataKey.id)))
    with Load(settings) as load:
        started = perf_counter()
        assert turn(database) == set()
    assert load.errors == []
    assert min(load.counts.values()) > 10
    after = {row_id: row[0] for row_id, row in snapshot(database).items()}
    assert not set(before.values()) & set(after.values())
    assert check(settings)["retired"] == 0
    with platform(database) as session:
        assert not old & set(session.scalars(select(DataKey.id)))
        assert session.scalar(select(func.count()).select_from(Vault)) > LOAD_ROWS * 0.8
    print("under load:", dict(load.counts), f"{perf_counter() - started:.1f} s")  # noqa: T201 - a figure to see


def test_two_that_need_a_first_key_at_once_get_the_same(
    database: Database, settings: Settings
) -> None:
    both = threading.Barrier(8)
    used = []

    def write() -> None:
        both.wait()
        with platform(database) as session:
            session.info["data_keys"] = DataKeys(settings)
            used.append(data_keys(session).current(session, TENANTS[0]).key_id)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(used) == 8
    assert len(set(used)) == 1
