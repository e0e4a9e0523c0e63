"""What tests of upgrades share: a database as it was before them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command

from control_plane.core import migrations
from control_plane.core.database import Database
from control_plane.core.settings import load_settings


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database as it was before: with the first revision of each room only."""
    environ = {}
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
        environ = server.environ(server.create())
    database = Database(load_settings(state=tmp_path, environ=environ))
    with database.owner_transaction() as connection:
        for revision in ("tenants_0001", "identity_0001", "ai_models_0001", "domains_0001"):
            command.upgrade(migrations.config(connection), revision)
    yield database
    database.close()
