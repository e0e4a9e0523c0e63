"""Runs supervisord bound to the process that started it.

Run as `python -m control_plane.launcher.supervisord CONFIG PARENT`. When that process dies, however
it dies, supervisord gets SIGTERM and ends the programs in order. Processes that a program leaves
behind become its own children, which it reaps.
"""

import ctypes
import os
import signal
import sys
from typing import Any, Final

from supervisor import poller, supervisord

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_LOOK_SECONDS: Final = 0.1


class _QuickPoller(poller.Poller):  # type: ignore[misc] # supervisor has no types
    """Lets supervisord see a death within a tenth of a second instead of a whole one."""

    def poll(self, timeout: float) -> Any:
        return super().poll(min(timeout, _LOOK_SECONDS))


def main(config: str, parent: int) -> None:
    """Become supervisord."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # It died before the signal was asked for.
    poller.Poller = _QuickPoller
    supervisord.main(["--nodaemon", "--configuration", config])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
