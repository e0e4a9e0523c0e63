"""The state directory: made, checked and held by one `yumen up` at a time."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from control_plane.launcher.errors import LaunchError

_SOCKET: Final = "redis/redis.sock"
_SOCKET_PATH_BYTES: Final = 107  # what the kernel takes
_FOLDERS: Final = ("run", "log", "redis", "gateway")


def check_path_length(state: Path) -> None:
    """Refuse a state directory in which the Unix socket of Redis would have too long a path."""
    excess = len(os.fsencode(state / _SOCKET)) - _SOCKET_PATH_BYTES
    if excess > 0:
        raise LaunchError(
            f"The path of the state directory {state} is {excess} bytes too long "
            "for a Unix socket; choose a shorter one with --state."
        )


def make_folders(state: Path) -> None:
    """Create the state directory, for its owner's eyes only."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _FOLDERS:
            (state / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise LaunchError(
            f"Cannot create the state directory {state} ({error.strerror}); "
            "choose another with --state."
        ) from error


@contextlib.contextmanager
def hold(state: Path) -> Iterator[None]:
    """Hold the state directory; a second instance on it is refused."""
    lock_file = state / "yumen.lock"
    try:
        lock = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LaunchError(
            f"Cannot use the state directory {state} ({error.strerror}); "
            "run as its owner or choose another with --state."
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 20).decode("ascii").strip()
            raise LaunchError(
                f"Yumen already runs on {state} (process {holder}); "
                "stop it, or choose another state directory with --state."
            ) from None
        os.truncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(lock)


def is_held(state: Path) -> bool:
    """Tell whether a `yumen up` runs on the state directory."""
    try:
        with (state / "yumen.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
