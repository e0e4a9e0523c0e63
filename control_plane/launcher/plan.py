"""Which programs an installation consists of, in the order in which they start."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from control_plane.core.settings import Settings
from control_plane.gateway import nginx_binary
from control_plane.launcher.redis_config import write_redis_config
from control_plane.launcher.requirements import find_redis
from control_plane.launcher.supervision import Program
from control_plane.serving import SHARED_FOLDER

YUMEN_COMMANDS: Final = ("worker", "shipper")
_STOP_MARGIN_SECONDS: Final = 5


def plan(settings: Settings, config: Path | None, demo_port: int | None) -> list[Program]:
    """Return the programs; whoever is needed to finish a request's work stands before nginx."""
    names = ["control-plane", "worker", "shipper"]
    if settings.redis.url is None:
        names.insert(0, "redis")
    programs = [program(name, settings, config) for name in names]
    if demo_port is not None:
        programs.append(Program("demo-upstream", yumen("demo-upstream", "--port", str(demo_port))))
    return [*programs, program("nginx", settings, config)]


def program(name: str, settings: Settings, config: Path | None) -> Program:
    """Return one program; what only the others need does not have to be there."""
    if name in YUMEN_COMMANDS:
        where = ["--state", str(settings.state), *(["--config", str(config)] if config else [])]
        return Program(name, yumen(name, *where), knows_master_key=name == "worker")
    return SERVERS[name](settings)


def yumen(*arguments: str) -> Sequence[str]:
    """Return a command of this very installation."""
    return [sys.executable, "-m", "control_plane.cli", *arguments]


def _redis(settings: Settings) -> Program:
    server = find_redis() or "redis-server"
    return Program("redis", [server, str(write_redis_config(settings.state))])


def _control_plane(settings: Settings) -> Program:
    admin = settings.admin
    metrics_port = settings.metrics_port("admin")
    folder = settings.state / "run" / "metrics"
    options = {
        "config": "python:control_plane.serving",
        "env": f"{SHARED_FOLDER}={folder}",
        "bind": _socket(admin.host, admin.port),
        "workers": admin.workers,
        "threads": admin.threads,
        "worker-class": "gthread",
        "worker-tmp-dir": settings.state / "run",
        "log-level": settings.logging.level,
        "graceful-timeout": 10,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    if metrics_port is not None:
        flags.append(f"--bind={_socket(settings.metrics.host, metrics_port)}")
    command = [sys.executable, "-m", "gunicorn", "--no-control-socket", *flags]
    return Program("control-plane", [*command, "control_plane.wsgi:app"], knows_master_key=True)


def _socket(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _nginx(settings: Settings) -> Program:
    folder = settings.state / "gateway"
    command = [nginx_binary(), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    drain = settings.gateway.drain_seconds + _STOP_MARGIN_SECONDS
    return Program("nginx", command, stop_signal="QUIT", stop_seconds=drain)


SERVERS: Final[Mapping[str, Callable[[Settings], Program]]] = {
    "redis": _redis,
    "control-plane": _control_plane,
    "nginx": _nginx,
}
"""The programs that are not commands of our own."""
