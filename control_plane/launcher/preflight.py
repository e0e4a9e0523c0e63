"""What is checked before anything starts, each failure one sentence."""

import errno
import socket
from collections.abc import Sequence

from control_plane.core.settings import Settings
from control_plane.launcher.errors import LaunchError
from control_plane.launcher.requirements import missing


def check_packages(settings: Settings) -> None:
    """Refuse to start without a program that Yumen runs."""
    absent = missing(private_redis=settings.redis.url is None)
    if absent:
        names = " and ".join(requirement.name for requirement in absent)
        packages = " ".join(requirement.package for requirement in absent)
        raise LaunchError(
            f"This machine has no {names}; `make setup` installs it "
            f"(or, as root, `apt-get install {packages}`)."
        )


def check_ports(settings: Settings) -> None:
    """Refuse to start on a port that somebody else has."""
    listeners = (
        ("gateway", settings.gateway.host, settings.gateway.port),
        ("admin", settings.admin.host, settings.admin.port),
    )
    for name, host, port in listeners:
        reason = listen_error(host, port)
        if reason:
            raise LaunchError(
                f"Cannot listen on {host} port {port} for the {name} side ({reason}); "
                f"choose another with --{name}-port."
            )
    if settings.gateway.port == settings.admin.port:
        raise LaunchError("--gateway-port and --admin-port must differ.")


def listen_error(host: str, port: int) -> str | None:
    """Return why nobody can listen there, or None."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "something else listens there"
            return str(error.strerror or error)
    return None


def free_port(taken: Sequence[int] = ()) -> int:
    """Return a loopback port that is free now."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port
