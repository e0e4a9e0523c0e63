"""Becomes one program of the installation, after ending what its last run left behind.

Run as `python -m control_plane.launcher.child RECORD COMMAND…`. supervisord starts a program again
as soon as its leader is dead, but nginx's workers outlive a killed master and hold its port, so
their group is ended first. RECORD is a small file that remembers the run. A program that keeps
dying young waits longer before every start.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from control_plane.core.clock import monotonic
from control_plane.launcher.processes import kill_all, list_group

YOUNG_SECONDS: Final = 10.0
FIRST_DELAY_SECONDS: Final = 0.25
MAX_DELAY_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Run:
    """One run of a program: the group it leads, and how often in a row it has died young."""

    pid: int
    started_at: float
    young_deaths: int = 0

    @property
    def delay_seconds(self) -> float:
        """How long it waits before it starts: not at all, or ever longer the more died young."""
        if not self.young_deaths:
            return 0.0
        return min(FIRST_DELAY_SECONDS * 2.0 ** min(self.young_deaths - 1, 16), MAX_DELAY_SECONDS)


def follow(previous: Run | None, pid: int, now: float) -> Run:
    """Return the run that comes after *previous*."""
    if previous is None:
        return Run(pid, now)
    life = now - previous.started_at - previous.delay_seconds
    return Run(pid, now, previous.young_deaths + 1 if life < YOUNG_SECONDS else 0)


def read_record(file: Path) -> Run:
    """Return the run that a record remembers."""
    return Run(**json.loads(file.read_text("ascii")))


def write_record(file: Path, run: Run) -> None:
    """Remember a run; a reader sees the old record or the new one."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(asdict(run)), "ascii")
    new.replace(file)


def main(arguments: list[str]) -> None:
    """End the last run's group, wait if it died young, then become the program."""
    record, *command = arguments
    file = Path(record)
    previous = read_record(file) if file.exists() else None
    if previous is not None:
        # A group of our own session, whose leader supervisord lives: it is surely ours.
        kill_all(lambda: list_group(previous.pid, os.getsid(0)))
    run = follow(previous, os.getpid(), monotonic())
    write_record(file, run)
    time.sleep(run.delay_seconds)
    os.execvp(command[0], command)  # noqa: S606 - the program takes over this very process


if __name__ == "__main__":
    main(sys.argv[1:])
