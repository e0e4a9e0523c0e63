"""What tests of the control plane share: a real Redis, both databases, an application, its user."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import argon2
import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from control_plane.app import create_app
from control_plane.core import migrations, tenancy
from control_plane.core.crypto import ensure_secrets
from control_plane.core.database import Database
from control_plane.core.settings import Settings, load_settings
from control_plane.identity.service import passwords
from control_plane.tenants import Tenant
from tests import factories
from tests.servers import APPLICATION, OWNER, PostgresServer, RedisServer

MEMORY = Path("/dev/shm")
ENOUGH = 4 << 30
"""Bytes: a whole run with two workers takes less than a quarter of it."""
LONGEST = ("property", "integration")
"""The suites with the files that take minutes."""


def pytest_configure() -> None:
    """Make temporary folders in memory, where the machine has room for them.

    Whether a disk keeps what it was told is not what these tests ask, and databases do little else
    than write files. What the bench measures stays on the disk.
    """
    if MEMORY.is_dir():
        place = os.statvfs(MEMORY)
        executes = not place.f_flag & os.ST_NOEXEC
        if executes and place.f_bavail * place.f_frsize >= ENOUGH:
            tempfile.tempdir = str(MEMORY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that at the end no process is left alone with it."""
    suites = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(suites).parts[0] not in LONGEST)


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Hash passwords with little work: how much is not what these tests ask."""
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", cheap)
        yield


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def empty_sqlite() -> Iterator[Path]:
    """A migrated SQLite file, to be copied."""
    folder = Path(tempfile.mkdtemp(prefix="ym"))
    _migrate(load_settings(state=folder, environ={}))
    yield folder / "yumen.db"
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def empty_postgresql(postgres_server: PostgresServer) -> str:
    """The name of a migrated PostgreSQL database, to be copied."""
    name = postgres_server.create()
    _migrate(load_settings(environ=postgres_server.environ(name)))
    return name


def _migrate(settings: Settings) -> None:
    database = Database(settings)
    migrations.upgrade(database)
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The URL of a migrated database of the test's own; None is SQLite in the state directory.

    On PostgreSQL it is the URL of the application's role, which does not own the tables.
    """
    if request.param == "sqlite":
        yield None
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create(request.getfixturevalue("empty_postgresql"))
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def settings(
    request: pytest.FixtureRequest, database_url: str | None, redis_server: RedisServer
) -> Iterator[Settings]:
    """The settings of an installation with secrets, a migrated database and an empty Redis."""
    state = Path(tempfile.mkdtemp(prefix="ym"))
    environ = {"YUMEN_REDIS_URL": redis_server.url}
    if database_url is None:
        shutil.copy(request.getfixturevalue("empty_sqlite"), state / "yumen.db")
    else:
        environ["YUMEN_DATABASE_URL"] = database_url
        environ["YUMEN_DATABASE_OWNER_URL"] = database_url.replace(APPLICATION, OWNER)
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    made = load_settings(state=state, environ=environ)
    ensure_secrets(made)
    yield made
    shutil.rmtree(state)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = Database(settings)
    yield opened
    opened.close()


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A session in the platform's scope; on SQLite nobody else can write while it is open."""
    with tenancy.platform_context(), database.session() as opened:
        yield opened


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    made = create_app(settings)
    yield made
    made.extensions["yumen_database"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def operator(app: Flask) -> dict[str, str]:
    """The `Authorization` header of an administrator of the platform."""
    user = factories.make_user(app.extensions["yumen_database"])
    return factories.sign_in(app, user)


@pytest.fixture
def tenant(database: Database) -> Tenant:
    return factories.make_tenant(database)


@pytest.fixture
def tenant_admin(app: Flask, database: Database, tenant: Tenant) -> dict[str, str]:
    """The `Authorization` header of the tenant's own administrator."""
    return factories.sign_in(app, factories.make_user(database, tenant))
