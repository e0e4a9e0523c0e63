"""Row-level security: the scope follows the code into each transaction, and PostgreSQL obeys it."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import click
import pytest
from sqlalchemy import Connection, delete, event, insert, select, text, update
from sqlalchemy.exc import ProgrammingError

from control_plane.core import clock, migrations, tenancy
from control_plane.core.database import Database
from control_plane.core.row_security import PowerfulRoleError
from control_plane.core.settings import Settings, load_settings
from control_plane.core.tenancy import TenancyError
from control_plane.domains.models import Domain
from control_plane.launcher import doctor
from control_plane.tenants import Tenant
from control_plane.usage import partitions
from tests import factories
from tests.servers import OWNER, POSTGRES_USER, PostgresServer

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
ALL = text("SELECT id FROM tenants ORDER BY creation_date")
HELD = text("SELECT current_setting('yumen.tenant', true)")


class Statements:
    """What is sent to the database while it is listened to."""

    def __init__(self, database: Database) -> None:
        self.sent: list[str] = []
        event.listen(database.engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        self.sent.append(statement)

    def scopes(self) -> int:
        """Return how often the scope was set."""
        return sum("set_config" in statement for statement in self.sent)


@pytest.fixture
def two(database: Database) -> Iterator[tuple[uuid.UUID, uuid.UUID]]:
    return factories.make_tenant(database).id, factories.make_tenant(database).id


def test_raw_sql_sees_what_the_scope_sees(database: Database, two: list[uuid.UUID]) -> None:
    mine, theirs = two
    with database.engine.connect() as connection:
        assert connection.scalars(ALL).all() == []
        with tenancy.tenant_context(mine):
            assert connection.scalars(ALL).all() == [mine]
            with tenancy.platform_context():
                assert connection.scalars(ALL).all() == [mine, theirs]
            assert connection.scalars(ALL).all() == [mine]
        assert connection.scalars(ALL).all() == []


def test_raw_sql_writes_what_the_scope_may(database: Database, two: list[uuid.UUID]) -> None:
    mine, theirs = two
    fields = {"domain_name": "a.example.com", "verification_token": "t"}
    fields |= dict.fromkeys(("is_verified", "is_primary", "ssl_enabled"), False)
    table = Domain.__table__
    with tenancy.tenant_context(mine), database.engine.begin() as connection:
        made = {"id": uuid.uuid4(), "tenant_id": mine, "created_at": clock.now()}
        connection.execute(insert(table).values(**fields, **made))
        for statement in (
            update(table).values(tenant_id=theirs),
            insert(table).values(**fields, **made | {"id": uuid.uuid4(), "tenant_id": theirs}),
        ):
            with (
                pytest.raises(ProgrammingError, match="row-level security"),
                connection.begin_nested(),
            ):
                connection.execute(statement)
    with tenancy.tenant_context(theirs), database.engine.begin() as connection:
        assert connection.execute(update(table).values(is_primary=True)).rowcount == 0
        assert connection.execute(delete(table)).rowcount == 0


def test_the_scope_costs_one_round_trip_a_change(database: Database, two: list[uuid.UUID]) -> None:
    statements = Statements(database)
    with database.session() as session:
        for tenant_id in two:
            with tenancy.tenant_context(tenant_id):
                for _ in range(3):
                    assert session.scalars(select(Tenant.id)).all() == [tenant_id]
        assert statements.scopes() == 2
        session.commit()
        with tenancy.tenant_context(two[1]):
            session.scalars(select(Tenant.id)).all()
        assert statements.scopes() == 3


def test_a_savepoint_that_is_rolled_back_does_not_bring_a_scope_back(
    database: Database, two: list[uuid.UUID]
) -> None:
    mine, theirs = two
    with tenancy.tenant_context(mine), database.session() as session:
        session.scalars(select(Tenant.id)).all()
        savepoint = session.begin_nested()
        with tenancy.tenant_context(theirs):
            assert session.scalars(ALL).all() == [theirs]
            with pytest.raises(ProgrammingError, match="no_such_column"):
                session.execute(text("SELECT no_such_column"))
        savepoint.rollback()
        assert session.scalars(ALL).all() == [mine]
        savepoint = session.begin_nested()
        with tenancy.tenant_context(theirs):
            assert session.scalars(ALL).all() == [theirs]
            savepoint.rollback()
            assert session.scalars(ALL).all() == [theirs]
        assert session.scalars(ALL).all() == [mine]


def test_a_pooled_connection_carries_no_scope_over(
    database: Database, two: list[uuid.UUID]
) -> None:
    for _ in range(3):
        with tenancy.tenant_context(two[0]), database.engine.begin() as connection:
            assert connection.scalar(HELD) == str(two[0])
        with database.engine.connect() as connection:
            assert not connection.scalar(HELD)


def test_a_scope_that_outlived_its_transaction_stops_the_next_one(
    database: Database, two: list[uuid.UUID]
) -> None:
    with database.engine.begin() as connection:
        connection.execute(text(f"SET yumen.tenant = '{two[0]}'"))
    with (
        tenancy.tenant_context(two[1]),
        database.engine.connect() as connection,
        pytest.raises(TenancyError, match=str(two[0])),
    ):
        connection.scalars(ALL)
    with tenancy.tenant_context(two[1]), database.engine.connect() as connection:
        assert connection.scalars(ALL).all() == [two[1]]


def test_a_day_of_usage_is_not_read_around_its_parent(database: Database) -> None:
    partitions.create_ahead(_context(database))
    with database.engine.connect() as connection:
        days = connection.scalars(
            text(
                "SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class ON inhrelid = oid"
                " WHERE relrowsecurity AND relforcerowsecurity"
                " AND inhparent = 'usage_events'::regclass"
            )
        ).all()
    assert len(days) == 4
    for day in days:
        assert _refusal(database, f"SELECT * FROM {day}") == "permission denied"


def test_the_tenants_index_serves_the_policy(database: Database, two: list[uuid.UUID]) -> None:
    with tenancy.tenant_context(two[0]), database.engine.connect() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        for table in ("tenants", "api_keys"):
            plan = "\n".join(connection.scalars(text(f"EXPLAIN SELECT * FROM {table}")))
            assert re.search(rf"^(Index|Bitmap Heap) Scan .*{table}", plan), plan
            assert "Index Cond" in plan


def test_the_application_may_change_rows_and_nothing_else(database: Database) -> None:
    for statement in (
        "DROP POLICY yumen_tenant ON tenants",
        "ALTER TABLE tenants DISABLE ROW LEVEL SECURITY",
        "DELETE FROM alembic_version",
        "TRUNCATE tenants CASCADE",
        "CREATE TABLE mine ()",
        "SELECT yumen_shut_usage_day('tenants')",
    ):
        assert _refusal(database, statement) in {"must be owner", "permission denied"}, statement


def test_a_role_above_row_security_is_refused(settings: Settings) -> None:
    url = str(settings.database.url).replace("yumen_app", POSTGRES_USER)
    powerful = load_settings(state=settings.state, environ={"YUMEN_DATABASE_URL": url})
    database = Database(powerful)
    with pytest.raises(PowerfulRoleError, match="superuser"):
        database.refuse_unsafe_start()
    [finding] = [each for each in doctor.check_database(powerful) if each.remedy]
    assert "database.url" in finding.remedy
    database.close()


def test_the_doctor_names_an_owner_that_serves(settings: Settings) -> None:
    assert not [each for each in doctor.check_database(settings) if each.remedy]
    environ = {"YUMEN_DATABASE_URL": str(settings.database.owner_url)}
    owning = load_settings(state=settings.state, environ=environ)
    [finding] = [each for each in doctor.check_database(owning) if each.remedy]
    assert "database.owner_url" in finding.remedy


def test_the_owner_alone_is_held_as_well(settings: Settings) -> None:
    environ = {"YUMEN_DATABASE_URL": str(settings.database.owner_url)}
    database = Database(load_settings(state=settings.state, environ=environ))
    migrations.upgrade(database)
    mine, _ = factories.make_tenant(database), factories.make_tenant(database)
    with tenancy.tenant_context(mine.id), database.engine.connect() as connection:
        assert connection.scalars(ALL).all() == [mine.id]
    database.close()


def test_an_upgrade_names_a_role_that_is_missing(
    settings: Settings, postgres_server: PostgresServer
) -> None:
    name = postgres_server.create()
    environ = {
        "YUMEN_DATABASE_URL": postgres_server.url(name, "nobody_yet"),
        "YUMEN_DATABASE_OWNER_URL": postgres_server.url(name, OWNER),
    }
    database = Database(load_settings(state=settings.state, environ=environ))
    with pytest.raises(click.ClickException, match="no role nobody_yet"):
        migrations.upgrade(database)
    database.close()


def _refusal(database: Database, statement: str) -> str:
    """Return how PostgreSQL refuses a statement of the application's role."""
    with (
        tenancy.platform_context(),
        database.engine.connect() as connection,
        pytest.raises(ProgrammingError) as caught,
    ):
        connection.execute(text(statement))
    found = re.search("must be owner|permission denied", str(caught.value))
    return found.group() if found else str(caught.value)


def _context(database: Database) -> Any:
    class Context:
        """As much of a job's context as making days needs."""

    context: Any = Context()
    context.database = database
    return context
