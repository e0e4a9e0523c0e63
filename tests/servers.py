"""Servers that tests start for themselves, on loopback or a socket, in a folder of their own."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import redis
from psycopg import sql

from control_plane.core.root import project_root
from tests.stack import free_port, until

POSTGRES_BIN = Path("/usr/lib/postgresql/15/bin")
POSTGRES_USER = "postgres"
OWNER, APPLICATION = "yumen_owner", "yumen_app"
"""The role that owns the tables, and the one that the control plane connects as."""
ROLES = project_root() / "docker" / "postgres-roles.sh"


class RedisServer:
    """A redis-server on a Unix socket; it keeps nothing: after `kill` and `start` it is empty."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ym"))
        self.folder.chmod(0o755)
        self.socket = self.folder / "redis.sock"
        self.url = f"unix://{self.socket}?db=0"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # A gateway that root started has workers of another user.
        options = ("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "777")
        storage = ("--save", "", "--dir", str(self.folder), "--logfile", "redis.log")
        self.process = subprocess.Popen(["redis-server", *options, *storage])
        until(self._answers, "Redis answers", 10)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


class PostgresServer:
    """A PostgreSQL 15 that runs as its own user (it refuses root), without waiting for the disk."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ym"))
        self.port = free_port()
        self._user = POSTGRES_USER if os.geteuid() == 0 else None
        self._made = 0

    def __enter__(self) -> Self:
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        data = str(self.folder / "data")
        self._run(
            "initdb", "-D", data, "-U", POSTGRES_USER, "--no-sync", "-A", "trust", "-E", "UTF8"
        )
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": 60,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [POSTGRES_BIN / "postgres", "-D", data, *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._identity(),
            )
        until(self._answers, "PostgreSQL answers", 20)
        self._make_roles()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")
        self.process.wait(20)
        shutil.rmtree(self.folder)

    def url(self, name: str, role: str = APPLICATION) -> str:
        """Return the URL of the database *name* for the control plane, or for another *role*."""
        return f"postgresql+psycopg://{role}@127.0.0.1:{self.port}/{name}"

    def environ(self, name: str) -> dict[str, str]:
        """Return the settings by which the control plane uses and upgrades the database *name*."""
        return {
            "YUMEN_DATABASE_URL": self.url(name),
            "YUMEN_DATABASE_OWNER_URL": self.url(name, OWNER),
        }

    def create(self, template: str = "template1") -> str:
        """Create a database as a copy of *template*; return its name."""
        self._made += 1
        name = f"test_{self._made}"
        # Copying files is the quicker way while they lie in memory.
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY FILE_COPY").format(
                *map(sql.Identifier, (name, template, OWNER))
            )
        )
        return name

    def drop(self, name: str) -> None:
        """Drop the database *name*, whoever is still connected."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def refuse(self, name: str, *, refused: bool = True) -> None:
        """Let nobody use the database *name*, also who is connected; or let them again."""
        database = sql.Identifier(name)
        allowed = sql.Literal(not refused)
        self._execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(database, allowed))
        if refused:
            self._execute(
                sql.SQL(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"
                ).format(sql.Literal(name))
            )

    def _make_roles(self) -> None:
        """Make the roles as the container does, by the same script."""
        environment = {
            "PATH": f"{POSTGRES_BIN}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "POSTGRES_USER": POSTGRES_USER,
            "POSTGRES_DB": "postgres",
            "YUMEN_OWNER_PASSWORD": "owner's",
            "YUMEN_APP_PASSWORD": "app's",
        }
        subprocess.run([ROLES], env=environment, check=True)

    def _execute(self, statement: sql.Composed) -> None:
        with self._connect() as connection:
            connection.autocommit = True
            connection.execute(statement)

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=POSTGRES_USER, dbname="postgres"
        )

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        result = subprocess.run(
            [POSTGRES_BIN / program, *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            check=False,
            **self._identity(),
        )
        assert result.returncode == 0, result.stderr

    def _identity(self) -> dict[str, object]:
        """Return whom the server's processes run as."""
        if self._user is None:
            return {}
        return {"user": self._user, "group": self._user, "extra_groups": []}
