"""Columns that hold secrets: assigned in clear, stored encrypted, good in their own place only."""

import itertools
import uuid
from typing import Any

import pytest
from sqlalchemy import inspect, select, text, update
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from control_plane.core import crypto, encryption, tenancy
from control_plane.core.crypto import SecretError
from control_plane.core.data_keys import DataKey, DataKeys, data_keys
from control_plane.core.database import Database
from control_plane.core.encryption import Place, reveal
from control_plane.core.settings import Settings
from control_plane.core.tenancy import TenancyError
from control_plane.core.types import Secret
from tests import factories, vaults
from tests.vaults import Chest, Safe, Vault

TEXT = "sk-密-0123456789"


@pytest.fixture
def database(database: Database) -> Database:
    vaults.create(database)
    return database


def stored(session: Session, entity: type[Any], row_id: uuid.UUID) -> str:
    """Return what the database has in the column `secret`."""
    table = entity.__tablename__
    found = session.execute(text(f"SELECT id, secret FROM {table}")).all()
    return str(next(secret for each, secret in found if uuid.UUID(str(each)) == row_id))


def test_a_room_assigns_text_and_reveals_it(database: Database) -> None:
    tenant = factories.make_tenant(database)
    with tenancy.tenant_context(tenant.id):
        with database.transaction() as session:
            row = Vault(secret=Secret(TEXT))
            session.add(row)
            assert reveal(row, Vault.secret) == TEXT
            session.flush()
            assert (row.secret.clear, row.other) == (None, None)
            assert reveal(row, Vault.secret) == TEXT
        with database.transaction() as session:
            row = session.scalars(select(Vault)).one()
            assert (reveal(row, Vault.secret), reveal(row, Vault.other)) == (TEXT, None)
            kept = stored(session, Vault, row.id)
            assert kept.startswith("v2.")
            assert TEXT not in kept
            row.secret = Secret(TEXT)
            row.other = Secret("")
            session.flush()
            session.expire(row)
            assert (reveal(row, Vault.secret), reveal(row, Vault.other)) == (TEXT, "")
            assert stored(session, Vault, row.id) != kept
            row.other = None
            session.flush()
            assert reveal(row, Vault.other) is None


def test_a_change_of_something_else_leaves_the_ciphertext(session: Session) -> None:
    database_of(session)
    row = Chest(secret=Secret(TEXT))
    session.add(row)
    session.flush()
    kept = stored(session, Chest, row.id)
    row.name = "new"
    session.flush()
    assert stored(session, Chest, row.id) == kept


def database_of(session: Session) -> None:
    """See that the fixture `database` has made the tables."""
    assert inspect(session.connection()).has_table("chests")


def test_what_is_stored_in_one_place_opens_in_no_other(database: Database) -> None:
    """Every pair of tenant, table, column and row: 380 swaps, of which none opens."""
    tenants = [factories.make_tenant(database).id for _ in range(2)]
    with tenancy.platform_context(), database.session() as session:
        rows: list[Any] = [
            entity(tenant_id=tenant_id, secret=Secret("s"), other=Secret("o"))
            for entity, tenant_id in itertools.product((Vault, Safe), tenants)
            for _ in range(2)
        ]
        rows += [Chest(secret=Secret("s"), other=Secret("o")) for _ in range(2)]
        session.add_all(rows)
        session.flush()
        places = [(row, name) for row in rows for name in ("secret", "other")]
        opened = refused = 0
        for (source, theirs), (row, name) in itertools.permutations(places, 2):
            place = Place.of(row, type(row).__table__.c[name])
            try:
                encryption.decrypt(session, place, getattr(source, theirs))
                opened += 1
            except SecretError:
                refused += 1
        assert (opened, refused) == (0, 380)
        assert [reveal(row, getattr(type(row), name)) for row, name in places] == ["s", "o"] * 10


def test_a_row_of_the_same_id_in_another_tenant_does_not_open(session: Session) -> None:
    """The tenant is in the associated data, not only in the choice of the key."""
    mine, other, row_id = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    cipher = data_keys(session).current(session, mine)
    secret = encryption.encrypt(cipher, Place(mine, "vaults", "secret", row_id), TEXT)
    with pytest.raises(SecretError, match="cannot be decrypted"):
        encryption.decrypt(session, Place(other, "vaults", "secret", row_id), secret)


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: good[:-8] + "AAAAAAA=",
        lambda good: good[:50],
        lambda good: good.rpartition(".")[2],
        lambda good: "v2." + good.rpartition(".")[2],
        lambda good: good.replace("v2.", "v3."),
        lambda good: "v1." + good.rpartition(".")[2],
        lambda _: "v2.!!.!!",
        lambda _: "v1.",
        lambda _: "",
        lambda good: f"v2.{uuid.uuid4().hex}.{good.rpartition('.')[2]}",
    ],
)
def test_what_was_damaged_does_not_open(session: Session, damage: Any) -> None:
    row = Chest(secret=Secret(TEXT))
    session.add(row)
    session.flush()
    broken = Secret(ciphertext=damage(row.secret.ciphertext))
    session.execute(update(Chest).where(Chest.id == row.id).values(secret=broken))
    session.expire(row)
    with pytest.raises(SecretError) as caught:
        reveal(row, Chest.secret)
    assert TEXT not in str(caught.value)


def test_what_the_master_key_itself_has_encrypted_still_opens(
    session: Session, settings: Settings
) -> None:
    row = Chest(secret=Secret("x"))
    session.add(row)
    session.flush()
    master = data_keys(session).masters.newest().cipher
    former = "v1." + crypto.encrypt(master, TEXT, f"chests|secret|{row.id}")
    row_of = update(Chest).where(Chest.id == row.id)
    session.execute(row_of.values(secret=Secret(ciphertext=former)))
    session.expire(row)
    assert reveal(row, Chest.secret) == TEXT


def test_only_a_text_of_its_own_is_taken(session: Session) -> None:
    first, second = Chest(secret=Secret(TEXT)), Chest(secret=Secret("x"))
    session.add_all([first, second])
    session.flush()
    for wrong in (first.secret, "sk-clear"):
        second.other = wrong
        with pytest.raises(TypeError, match=r"chests\.other takes a Secret") as caught:
            session.flush()
        assert "sk-clear" not in str(caught.value)
        session.expire(second)
    with pytest.raises(StatementError, match="Only an encrypted text"):
        session.execute(update(Chest).values(secret=Secret("past the flush")))


def test_a_tenants_code_cannot_open_another_tenants_row(
    database: Database, settings: Settings
) -> None:
    """Not even when it got hold of it, and whether or not the key is in memory."""
    mine, other = factories.make_tenant(database), factories.make_tenant(database)
    with tenancy.platform_context(), database.session() as session:
        row = Vault(tenant_id=other.id, secret=Secret(TEXT))
        session.add(row)
        session.flush()
        for keys in (data_keys(session), DataKeys(settings)):
            session.info["data_keys"] = keys
            with tenancy.tenant_context(mine.id), pytest.raises(TenancyError, match="another"):
                reveal(row, Vault.secret)
            assert reveal(row, Vault.secret) == TEXT


def test_a_tenant_writes_what_belongs_to_the_platform_with_its_key(database: Database) -> None:
    """As the mail that his invitation causes."""
    tenant = factories.make_tenant(database)
    with tenancy.tenant_context(tenant.id), database.transaction() as session:
        session.add_all([Chest(secret=Secret(TEXT)), Vault(secret=Secret(TEXT))])
    with tenancy.platform_context(), database.session(write=False) as session:
        owners = set(session.scalars(select(DataKey.tenant_id)))
        assert owners == {None, tenant.id}
        assert reveal(session.scalars(select(Chest)).one(), Chest.secret) == TEXT
