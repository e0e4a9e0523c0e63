"""Schemas of tenants: what PostgreSQL keeps of them, and that every definition reaches each."""

import contextlib
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command, op
from alembic.migration import MigrationContext
from alembic.operations import Operations
from click.testing import CliRunner
from sqlalchemy import Connection, delete, insert, inspect, select, text
from sqlalchemy.exc import DatabaseError, IntegrityError, ProgrammingError

from control_plane.ai_models.models import AIModel, TenantModelConfig
from control_plane.core import migrations, plugins, row_security, tenancy, tenant_schemas
from control_plane.core.database import Database
from control_plane.core.settings import Settings
from control_plane.core.tables import Base
from control_plane.core.tenant_schemas import BusinessTable
from control_plane.launcher import doctor
from control_plane.tenants import Tenant
from control_plane.tenants.models import Isolation
from tests import factories
from tests.servers import APPLICATION, OWNER, POSTGRES_USER

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
TABLE = "tenant_model_configs"
EXCLUSIVE = """
SELECT relation::regclass::text FROM pg_locks
    WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock' AND relation IS NOT NULL
"""
PLACES = text(f"SELECT tableoid::regclass::text, count(*) FROM {TABLE} GROUP BY 1")


@pytest.fixture
def housed(database: Database) -> Tenant:
    """A tenant with a schema and two rows in it; another one has two in the shared table."""
    tenant = factories.make_tenant(database, isolation=Isolation.SCHEMA)
    other = factories.make_tenant(database)
    factories.make_tenant_models(database, [tenant.id, other.id], 2)
    return tenant


def own(tenant: Tenant) -> str:
    return f"t_{tenant.id.hex}.{TABLE}"


def places(database: Database) -> dict[str, int]:
    """Return how many rows lie in which table, as the platform sees them through the parent."""
    with tenancy.platform_context(), database.engine.connect() as connection:
        return {name: count for name, count in connection.execute(PLACES)}  # noqa: C416


@contextlib.contextmanager
def migrating(database: Database) -> Iterator[Connection]:
    """Let `op` work on the database as the owner, as in a migration."""
    with database.owner_transaction() as owner:
        context = MigrationContext.configure(owner, opts={"target_metadata": Base.metadata})
        with Operations.context(context):
            yield owner


def refusal(database: Database, statement: str) -> str:
    with tenancy.platform_context(), database.engine.connect() as connection:
        try:
            connection.execute(text(statement))
        except ProgrammingError as error:
            return str(error.orig)
    return "nothing"


@on_postgresql
def test_rows_lie_where_their_tenant_does(database: Database, housed: Tenant) -> None:
    assert places(database) == {own(housed): 2, f"shared.{TABLE}": 2}
    with tenancy.tenant_context(housed.id), database.transaction() as session:
        config = session.scalars(select(TenantModelConfig)).first()
        assert config is not None
        assert session.execute(PLACES).all() == [(own(housed), 2)]
        config.max_calls_per_day = 7
        session.flush()
        assert session.execute(delete(TenantModelConfig)).rowcount == 2  # type: ignore[attr-defined]
    assert places(database) == {f"shared.{TABLE}": 2}


@on_postgresql
def test_uniqueness_and_references_hold_in_a_schema(database: Database, housed: Tenant) -> None:
    nowhere = text(f"UPDATE {TABLE} SET model_id = gen_random_uuid()")
    with tenancy.platform_context(), database.session() as session:
        model_id = session.scalars(select(AIModel.id)).first()
        again = insert(TenantModelConfig.__table__).values(
            tenant_id=housed.id, model_id=model_id, cost_multiplier=Decimal(1)
        )
        for statement, broken in (
            (again, "uq_tenant_model_configs_tenant_id_model_id"),
            (nowhere, "fk_tenant_model_configs_model_id_ai_models"),
            (delete(AIModel), "fk_tenant_model_configs_model_id_ai_models"),
        ):
            with pytest.raises(IntegrityError, match=broken), session.begin_nested():
                session.execute(statement)


@on_postgresql
def test_a_tenants_statement_locks_no_table_of_another(database: Database, housed: Tenant) -> None:
    other = factories.make_tenant(database, isolation=Isolation.SCHEMA)
    locked = text("SELECT relation::regclass::text FROM pg_locks WHERE pid = pg_backend_pid()")
    with tenancy.tenant_context(housed.id), database.session() as session:
        # Often enough for PostgreSQL to think of one plan for all tenants.
        for number in range(12):
            for config in session.scalars(select(TenantModelConfig)):
                config.max_calls_per_day = number
            session.flush()
        found = set(session.scalars(locked))
    assert own(housed) in found
    assert not [name for name in found if name and name.startswith((own(other), "shared."))]


@on_postgresql
def test_every_business_table_is_divided_and_no_other(database: Database) -> None:
    plugins.manager()
    marked = {
        mapper.local_table.name  # type: ignore[attr-defined]
        for mapper in Base.registry.mappers
        if issubclass(mapper.class_, BusinessTable)
    }
    with database.engine.connect() as connection:
        assert set(connection.scalars(text("SELECT name FROM yumen_divided_tables"))) == marked
    for name in marked:
        referred = {key.target_fullname for key in Base.metadata.tables[name].foreign_keys}
        assert "tenants.id" in referred, name


@on_postgresql
def test_the_application_reaches_a_schema_through_its_tables_only(
    database: Database, housed: Tenant
) -> None:
    for statement in (
        f"SELECT * FROM {own(housed)}",
        f"SELECT * FROM shared.{TABLE}",
        f"DROP SCHEMA t_{housed.id.hex} CASCADE",
        f"CREATE SCHEMA t_{uuid.uuid4().hex}",
        f"SELECT yumen_copy_table('{TABLE}', 'public', '')",
        f"SELECT yumen_unite_table('{TABLE}')",
    ):
        assert refusal(database, statement).startswith(("permission denied", "must be owner"))


@on_postgresql
def test_a_tenant_is_moved_in_its_own_scope_only(database: Database, housed: Tenant) -> None:
    other = factories.make_tenant(database)
    for scope in (tenancy.tenant_context(other.id), contextlib.nullcontext()):
        with scope, pytest.raises(DatabaseError, match="not in the scope"):  # noqa: SIM117
            with database.transaction() as session:
                tenant_schemas.leave(session, housed.id)
    assert places(database)[own(housed)] == 2


@on_postgresql
def test_a_schema_of_somebody_else_is_not_taken_over(
    database: Database, settings: Settings
) -> None:
    tenant = factories.make_tenant(database)
    as_superuser(settings, f"CREATE SCHEMA t_{tenant.id.hex}")
    with (
        tenancy.platform_context(),
        pytest.raises(DatabaseError, match="another role"),
        database.transaction() as session,
    ):
        tenant_schemas.enter(session, tenant.id)


@on_postgresql
@pytest.mark.parametrize("lost", ["RETURN NULL", "NEW.version := 9; RETURN NEW"])
def test_a_move_that_loses_or_changes_a_row_is_undone(
    database: Database, settings: Settings, lost: str
) -> None:
    tenant = factories.make_tenant(database)
    factories.make_tenant_models(database, [tenant.id], 3)
    as_superuser(
        settings,
        f"""
        CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {lost}; END $$;
        CREATE FUNCTION spoil_copies() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            IF to_regclass('t_{tenant.id.hex}.{TABLE}') IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_trigger WHERE tgname = 'spoil') THEN
                CREATE TRIGGER spoil BEFORE INSERT ON t_{tenant.id.hex}.{TABLE}
                    FOR EACH ROW EXECUTE FUNCTION spoil();
            END IF;
        END $$;
        CREATE EVENT TRIGGER spoil ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
            EXECUTE FUNCTION spoil_copies();
        """,
    )
    with (
        tenancy.platform_context(),
        pytest.raises(DatabaseError, match="are not those in"),
        database.transaction() as session,
    ):
        tenant_schemas.enter(session, tenant.id)
    assert places(database) == {f"shared.{TABLE}": 3}


def as_superuser(settings: Settings, statement: str) -> None:
    url = str(settings.database.owner_url).replace(OWNER, POSTGRES_USER)
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(statement)


@on_postgresql
def test_a_changed_table_is_changed_in_every_schema(database: Database, housed: Tenant) -> None:
    with migrating(database) as owner:
        op.add_column(TABLE, sa.Column("note", sa.String(20), nullable=False, server_default="-"))
        op.create_index("ix_note", TABLE, ["note"])
        op.drop_column(TABLE, "max_calls_per_day")
        schema = inspect(owner)
        found = {each["name"] for each in schema.get_columns(TABLE, f"t_{housed.id.hex}")}
        expected = {each["name"] for each in schema.get_columns(TABLE)}
        assert found == expected
        assert "note" in expected
        indexes = schema.get_indexes(TABLE, f"t_{housed.id.hex}")
        assert ["note"] in [each["column_names"] for each in indexes]
    late = factories.make_tenant(database)
    with tenancy.platform_context(), database.transaction() as session:
        tenant_schemas.enter(session, late.id)


@on_postgresql
def test_a_new_business_table_comes_into_every_schema(database: Database, housed: Tenant) -> None:
    with migrating(database) as owner:
        op.create_table(
            "notes",
            sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id"), primary_key=True),
            sa.Column("id", sa.Uuid(), primary_key=True),
            sa.Column("text", sa.String(20), nullable=False),
            sa.CheckConstraint("text <> ''", name="text"),
        )
        op.create_index("ix_notes_text", "notes", ["text"])
        row_security.protect("notes")
        values = {"tenant": housed.id, "id": uuid.uuid4()}
        owner.execute(text("INSERT INTO notes VALUES (:tenant, :id, 'kept')"), values)
        tenant_schemas.divide("notes")
        where = text("SELECT tableoid::regclass::text, text FROM notes")
        assert owner.execute(where).all() == [(f"t_{housed.id.hex}.notes", "kept")]
        assert tenant_schemas.behind(owner) == {}


@on_postgresql
def test_business_tables_that_refer_to_each_other_move_together(
    database: Database, tenant: Tenant
) -> None:
    keys = ["tenant_id", "id"]
    with migrating(database):
        for name, *above in (("books",), ("pages", "books"), ("words", "pages", "books")):
            op.create_table(
                name,
                sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id"), primary_key=True),
                sa.Column("id", sa.Uuid(), primary_key=True),
                *(
                    sa.ForeignKeyConstraint(keys, [f"{each}.{key}" for key in keys], ondelete=rule)
                    for each, rule in zip(above, (None, "CASCADE"), strict=False)
                ),
            )
            row_security.protect(name)
            tenant_schemas.divide(name)
        op.create_foreign_key("fk_books_itself", "books", "books", keys, keys)
    ids = [uuid.uuid4() for _ in range(3)]
    names = ("books", "pages", "words")
    with database.owner_transaction() as owner:
        for name in names:
            for each in ids:
                values = {"tenant": tenant.id, "id": each}
                owner.execute(text(f"INSERT INTO {name} VALUES (:tenant, :id)"), values)
        row_security.grant(owner, APPLICATION)
    for move, home in (
        (tenant_schemas.enter, f"t_{tenant.id.hex}"),
        (tenant_schemas.leave, "shared"),
        (tenant_schemas.enter, f"t_{tenant.id.hex}"),
    ):
        with tenancy.platform_context(), database.transaction() as session:
            assert move(session, tenant.id) == 9
            # Whoever reads a tenant and then its data must not wait the one way, we the other way.
            alone = set(session.scalars(text(EXCLUSIVE)))
            assert not alone & {"tenants", "ai_models"}
            for name in names:
                where = session.execute(
                    text(f"SELECT tableoid::regclass::text, count(*) FROM {name} GROUP BY 1")
                ).all()
                assert where == [(f"{home}.{name}", 3)]
    with database.owner_transaction() as owner:
        broken = text("INSERT INTO pages VALUES (:tenant, gen_random_uuid())")
        with pytest.raises(IntegrityError, match="pages"), owner.begin_nested():
            owner.execute(broken, {"tenant": tenant.id})
        with pytest.raises(IntegrityError, match="pages"), owner.begin_nested():
            owner.execute(text("DELETE FROM books"))


@on_postgresql
def test_only_business_tables_refer_to_business_tables(database: Database) -> None:
    """A row that stays where it is could not refer to one that moves."""
    question = text(
        "SELECT conname FROM pg_constraint WHERE contype = 'f'"
        " AND confrelid IN (SELECT id FROM yumen_divided_tables)"
        " AND conrelid NOT IN (SELECT id FROM yumen_divided_tables)"
    )
    with database.engine.connect() as connection:
        assert connection.scalars(question).all() == []


@on_postgresql
def test_a_schema_that_is_behind_is_named_and_catches_up(
    database: Database, settings: Settings, housed: Tenant
) -> None:
    assert status(settings) == (0, "The schema is up to date.\n")
    with database.owner_transaction() as owner:
        owner.execute(text(f"DROP TABLE {own(housed)}"))
    factories.make_tenant_models(database, [housed.id])
    code, told = status(settings)
    assert (code, told) == (1, f"The schema t_{housed.id.hex} of a tenant lacks {TABLE}.\n")
    [finding] = [each for each in doctor.check_database(settings) if each.remedy]
    assert f"t_{housed.id.hex}" in finding.text
    assert places(database) == {f"shared.{TABLE}": 3}
    migrations.upgrade(database)
    assert status(settings)[0] == 0
    assert places(database) == {f"shared.{TABLE}": 2, own(housed): 1}


def status(settings: Settings) -> tuple[int, str]:
    environ = {
        "YUMEN_DATABASE_URL": str(settings.database.url),
        "YUMEN_DATABASE_OWNER_URL": str(settings.database.owner_url),
    }
    done = CliRunner().invoke(
        migrations.db, ["status", "--state", str(settings.state)], env=environ
    )
    return done.exit_code, done.output


def test_dividing_keeps_every_row_both_ways(database: Database) -> None:
    tenant = factories.make_tenant(database)
    factories.make_tenant_models(database, [tenant.id], 2)
    before = rows(database)
    with database.owner_transaction() as connection:
        command.downgrade(migrations.config(connection), "ai_models_0002")
    with database.owner_transaction() as connection:
        assert inspect(connection).get_pk_constraint(TABLE)["constrained_columns"] == ["id"]
    assert len(before) == 2
    migrations.upgrade(database)
    assert rows(database) == before
    with database.owner_transaction() as connection:
        key = inspect(connection).get_pk_constraint(TABLE)["constrained_columns"]
        assert key == ["tenant_id", "id"]


@on_postgresql
def test_a_table_is_not_united_while_a_tenant_has_a_schema(
    database: Database, housed: Tenant
) -> None:
    with (
        pytest.raises(DatabaseError, match="move them back first"),
        database.owner_transaction() as connection,
    ):
        command.downgrade(migrations.config(connection), "ai_models_0002")
    assert places(database)[own(housed)] == 2


def rows(database: Database) -> list[dict[str, Any]]:
    with database.owner_transaction() as connection:
        table = TenantModelConfig.__table__
        found = connection.execute(select(table).order_by(table.c.id)).mappings()
        return [dict(row) for row in found]
