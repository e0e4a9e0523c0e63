"""Which processes belong to an installation, read from /proc, and how they are ended.

All of them live in the session that supervisord leads, each program in a process group of its own.
A session's and a group's number cannot be taken by anybody else while one member lives, so neither
names nor files are needed to recognise them. (nginx and Redis overwrite their environment with
their title: a marker there would be gone.)
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.core.clock import monotonic

_POLL_SECONDS: Final = 0.01


@dataclass(frozen=True)
class Process:
    """One line of /proc, as far as it is needed here."""

    pid: int
    group: int
    session: int
    started: int  # clock ticks since boot: with the pid, it names a process for good


def find_process(pid: int) -> Process | None:
    """Return a process that runs; a zombie does not, once its last thread is gone.

    The first thread can be a zombie while others still end, and hold the ports until then.
    """
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The second field, the program's name, may hold blanks and brackets.
    state, _parent, group, session, *rest = line.rpartition(")")[2].split()
    threads = int(rest[13])
    if state in "ZX" and threads <= 1:
        return None
    return Process(pid, int(group), int(session), int(rest[15]))


def list_processes() -> Iterator[Process]:
    """Yield every process that runs on this machine."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - a name a process, no Path for each
        if name.isdigit() and (process := find_process(int(name))) is not None:
            yield process


def list_group(group: int, session: int) -> list[Process]:
    """Return the members of a process group of our session."""
    return [p for p in list_processes() if p.group == group and p.session == session]


def list_session(session: int) -> list[Process]:
    """Return the members of a session."""
    return [p for p in list_processes() if p.session == session]


def kill_all(members: Callable[[], list[Process]], timeout_seconds: float = 10) -> int:
    """Kill until nobody is left, because members may fork meanwhile; return how many there were."""
    killed: set[int] = set()
    deadline = monotonic() + timeout_seconds
    while (left := members()) and monotonic() < deadline:
        for process in left:
            killed.add(process.pid)
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(_POLL_SECONDS)
    return len(killed)
