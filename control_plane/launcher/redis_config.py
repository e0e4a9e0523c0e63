"""The configuration of an installation's private Redis."""

from pathlib import Path
from typing import Final

_CONFIG: Final = """\
# Written by `yumen up` at every start; changes are lost.
port 0
unixsocket "{folder}/redis.sock"
unixsocketperm 700
dir "{folder}"
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


def write_redis_config(state: Path) -> Path:
    """Write redis.conf and return it: a socket instead of a port, every second on disk."""
    folder = state / "redis"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "redis.conf"
    path.write_text(_CONFIG.format(folder=folder), "utf-8")
    return path
