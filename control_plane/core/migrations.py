"""Brings a database to the schema this code needs (Alembic, run in process without an ini file)."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from control_plane.core.database import Database

SCRIPTS = "control_plane:migrations"
_LOCK = 0x59754D656E


def upgrade(database: Database) -> None:
    """Apply the migrations that are missing, all or none; a second process waits for the first."""
    with database.engine.begin() as connection:
        if not database.is_sqlite:
            # SQLite's BEGIN IMMEDIATE has locked already.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        command.upgrade(config(connection), "heads")


def config(connection: Connection) -> Config:
    """Return Alembic's configuration for work on *connection*."""
    alembic = Config()
    alembic.set_main_option("script_location", SCRIPTS)
    alembic.attributes["connection"] = connection
    return alembic
