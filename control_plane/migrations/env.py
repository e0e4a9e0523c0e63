"""Alembic's entry: compares and migrates the connection it is given against all rooms' tables."""

from alembic import context

from control_plane.core import outbox, plugins
from control_plane.core.tables import Base

plugins.manager()
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()

__all__ = ["outbox"]
