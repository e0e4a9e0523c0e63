"""Brings a database to the schema this code needs (Alembic, run in process without an ini file)."""

import contextlib
from collections.abc import Iterable

import click
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import to_tuple
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from control_plane.core import row_security, tenant_schemas
from control_plane.core.commands import on_installation
from control_plane.core.database import Database, is_busy
from control_plane.core.settings import Settings

SCRIPTS = "control_plane:migrations"

_WAITS = 12
"""How often a second process waits on SQLite, five seconds each time: its own wait is no longer."""


def upgrade(database: Database) -> None:
    """Apply the migrations that are missing, all or none; a second process waits for the first."""
    for waits_left in reversed(range(_WAITS)):
        try:
            _upgrade(database)
            break
        except OperationalError as error:
            if not is_busy(error) or not waits_left:
                raise


def _upgrade(database: Database) -> None:
    with database.owner_transaction() as connection:
        if not database.is_sqlite:
            # SQLite's BEGIN IMMEDIATE has locked already.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({tenant_schemas.LOCK})")
        command.upgrade(config(connection), "heads")
        if not database.is_sqlite:
            tenant_schemas.catch_up(connection)
            row_security.grant(connection, str(database.engine.url.username))


def missing(database: Database) -> set[str]:
    """Return the migrations that *database* still needs."""
    with database.engine.connect() as connection:
        scripts = ScriptDirectory.from_config(config(connection))
        heads = MigrationContext.configure(connection).get_current_heads()
    return {script.revision for script in scripts.walk_revisions()} - _applied(scripts, heads)


def _applied(scripts: ScriptDirectory, heads: Iterable[str]) -> set[str]:
    """Return *heads* and all that came before them: the database names only the newest ones."""
    applied: set[str] = set()
    waiting = list(heads)
    while waiting:
        script = scripts.get_revision(waiting.pop())
        applied.add(script.revision)
        waiting += [*to_tuple(script.down_revision, ()), *to_tuple(script.dependencies, ())]
    return applied


def config(connection: Connection) -> Config:
    """Return Alembic's configuration for work on *connection*."""
    alembic = Config()
    alembic.set_main_option("script_location", SCRIPTS)
    alembic.attributes["connection"] = connection
    return alembic


@click.group()
def db() -> None:
    """Look after the database's schema."""


@db.command("upgrade")
@on_installation
def upgrade_command(settings: Settings) -> None:
    """Apply the migrations that are missing."""
    with contextlib.closing(Database(settings)) as database:
        upgrade(database)
    click.echo("The schema is up to date.")


@db.command("status")
@on_installation
def status_command(settings: Settings) -> None:
    """Tell what an upgrade would do; exit with 1 when there is anything."""
    with contextlib.closing(Database(settings)) as database:
        names = sorted(missing(database))
        with database.engine.connect() as connection:
            behind = tenant_schemas.behind(connection)
    if names:
        click.echo("Missing: " + ", ".join(names))
    for schema, tables in behind.items():
        click.echo(f"The schema {schema} of a tenant lacks {', '.join(tables)}.")
    if not names and not behind:
        click.echo("The schema is up to date.")
    raise SystemExit(1 if names or behind else 0)
