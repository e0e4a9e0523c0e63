"""gunicorn's settings beside its command line: its processes count what they serve together."""

import os
import shutil
from pathlib import Path
from typing import Any

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder; it must stand in the environment before Prometheus' client is imported."""


def on_starting(_server: Any) -> None:
    """Begin to count at 0, before there is a process that serves."""
    folder = Path(os.environ[SHARED_FOLDER])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)


def child_exit(_server: Any, worker: Any) -> None:
    """Forget the levels of a process that is gone; what it counted stays."""
    for path in Path(os.environ[SHARED_FOLDER]).glob(f"gauge_live*_{worker.pid}.db"):
        path.unlink(missing_ok=True)
