"""Runs the worker as a process of its own, which may be killed."""

import os
import subprocess
import sys
from typing import Self

from control_plane.core.settings import Settings
from tests.stack import YUMEN


class WorkerProcess:
    """`yumen worker` on an installation."""

    def __init__(self, settings: Settings, metrics_port: int = 0) -> None:
        environ = os.environ | {"YUMEN_REDIS_URL": settings.redis_url}
        environ["YUMEN_DATABASE_URL"] = settings.database_url
        environ["YUMEN_METRICS_WORKER_PORT"] = str(metrics_port)
        self.log = settings.state / "worker.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(YUMEN), "worker", "--state", str(settings.state)],
                env=environ,
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(10)
