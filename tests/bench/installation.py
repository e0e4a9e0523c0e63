"""A whole Yumen as `yumen up` runs it, with two gateway workers, on each database in turn."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from control_plane.core.database import Database
from control_plane.core.settings import Settings, load_settings
from tests.bench.workers import Workers
from tests.servers import PostgresServer
from tests.stack import Stack, children, until

DATABASES = ("SQLite", "PostgreSQL")
WORKERS = 2


class Installation:
    """A running stack, and its database as a second control plane would open it."""

    def __init__(self, stack: Stack, settings: Settings, database: Database) -> None:
        self.stack = stack
        self.settings = settings
        self.database = database

    @property
    def gateway_port(self) -> int:
        """Where the gateway listens."""
        return int(urlsplit(self.stack.ready["gateway"]).port or 0)

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of nginx's workers."""
        return sorted(children(self.stack.ready["pids"]["nginx"]))

    def node(self) -> dict[str, Any]:
        """Return what the gateway node says of itself; {} while Redis does not know it."""
        nodes = self.stack.api("GET", "/api/gateway/nodes")
        return dict(nodes[0]) if nodes else {}

    def restart_worker(self) -> None:
        """Kill the control plane's worker, and wait for the one that `yumen up` starts instead."""
        former = self.stack.ready["pids"]["worker"]
        os.kill(former, signal.SIGKILL)

        def is_another() -> bool:
            self.stack.reload()
            return self.stack.ready["pids"]["worker"] not in (None, former)

        until(is_another, "another worker")

    def workers(self) -> Workers:
        """Connect to every gateway worker."""
        return Workers(self.gateway_port, self.worker_pids)


@contextmanager
def running(name: str, environment: Mapping[str, str] | None = None) -> Iterator[Installation]:
    """Run Yumen on the database *name*."""
    with ExitStack() as ends:
        environ = {"YUMEN_GATEWAY_WORKERS": str(WORKERS), **(environment or {})}
        if name == "PostgreSQL":
            server = ends.enter_context(PostgresServer())
            environ |= server.environ(server.create())
        stack = ends.enter_context(Stack(environ))
        settings = load_settings(None, stack.state / "s", environ)
        database = Database(settings)
        ends.callback(database.close)
        yield Installation(stack, settings, database)
