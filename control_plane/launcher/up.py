"""`yumen up`: the order in which an installation starts, lives and ends."""

import os
import resource
from pathlib import Path
from typing import Final

from control_plane.core.settings import Settings
from control_plane.launcher import installation, preflight, privileges, terminal
from control_plane.launcher.life import Life, Options
from control_plane.launcher.stopping import StopSignals
from control_plane.launcher.supervision import end_former_session

_OPEN_FILES: Final = 65536


def up(settings: Settings, options: Options) -> None:
    """Run an installation until it is told to stop.

    Raises:
        LaunchError: it cannot start, or it cannot go on.
    """
    installation.check_path_length(settings.state)
    preflight.check_packages(settings)
    os.umask(0o077)
    installation.make_folders(settings.state)
    owner = _leave_root(settings.state, options.config)
    with installation.hold(settings.state), StopSignals() as signals:
        killed = end_former_session(settings.state)
        if killed:
            terminal.say(f"Ended {killed} processes that an earlier run had left behind.")
        preflight.check_ports(settings)
        _allow_open_files()
        life = Life(settings, options, owner, signals)
        try:
            life.begin()
            life.watch()
        finally:
            life.end()


def _leave_root(state: Path, config: Path | None) -> privileges.Account | None:
    """Act as the user `yumen` from here on if root started us; return that user."""
    if os.geteuid() != 0:
        return None
    try:
        account = privileges.find_account(state, config)
    except privileges.UnreachableError as error:
        terminal.warn(f"everything runs as root, because {error}.")
        return None
    privileges.give(state, account)
    privileges.become(account)
    os.environ["HOME"] = str(state)
    return account


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
