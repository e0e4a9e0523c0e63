"""Migrations: they make the schema that the code expects, once, whoever starts first."""

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect

from control_plane.core import migrations, plugins, tenant_schemas
from control_plane.core.database import Database
from control_plane.core.settings import Settings, load_settings
from control_plane.core.tables import Base


def is_ours(_object: object, name: str | None, kind: str, *_: object) -> bool:
    """Leave out PostgreSQL's partitions, which the worker makes day by day."""
    return not (kind == "table" and (name or "").startswith("usage_events_"))


def test_an_upgraded_database_is_what_the_code_expects(database: Database) -> None:
    plugins.manager()
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_object": is_ours}
        )
        assert compare_metadata(context, Base.metadata) == []
    assert migrations.missing(database) == set()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "sqlite":
        return load_settings(state=tmp_path, environ={})
    server = request.getfixturevalue("postgres_server")
    return load_settings(state=tmp_path, environ=server.environ(server.create()))


def test_processes_that_start_at_once_upgrade_once(empty: Settings) -> None:
    def upgrade(_: int) -> None:
        database = Database(empty)
        migrations.upgrade(database)
        database.close()

    database = Database(empty)
    assert migrations.missing(database)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(upgrade, range(3)))
    assert migrations.missing(database) == set()
    database.close()


def test_an_upgrade_waits_for_one_that_takes_longer_than_statements_may(
    empty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.core.database._BUSY_TIMEOUT_MS", 100)
    database = Database(empty)
    with ThreadPoolExecutor(1) as pool:
        with database.engine.begin() as connection:
            if not database.is_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({tenant_schemas.LOCK})")
            upgrade = pool.submit(migrations.upgrade, database)
            assert not wait([upgrade], timeout=0.4).done
        upgrade.result()
    assert migrations.missing(database) == set()
    database.close()


def test_a_failed_migration_leaves_nothing_behind(
    empty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("alembic.runtime.migration.HeadMaintainer.update_to_step", fail)
    database = Database(empty)
    with pytest.raises(RuntimeError):
        migrations.upgrade(database)
    assert inspect(database.engine).get_table_names() == []
    database.close()


def test_an_open_reader_does_not_keep_sqlite_from_writing(tmp_path: Path) -> None:
    settings = load_settings(state=tmp_path, environ={})
    database = Database(settings)
    migrations.upgrade(database)
    engine = create_engine(settings.database_url)
    with engine.connect() as raw:
        assert raw.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5000
    database.close()
