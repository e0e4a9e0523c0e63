"""What is checked before anything starts, each failure one sentence."""

import errno
import socket
import typing
from collections.abc import Iterator, Sequence

from control_plane.core.settings import MeteredProcess, Settings
from control_plane.launcher.errors import LaunchError
from control_plane.launcher.requirements import missing


class Listener(typing.NamedTuple):
    """An address that a program of the installation listens on, and what changes its port."""

    side: str
    option: str
    host: str
    port: int


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
    taken: dict[int, str] = {}
    for listener in listeners(settings):
        reason = listen_error(listener.host, listener.port)
        if reason:
            raise LaunchError(
                f"Cannot listen on {listener.host} port {listener.port} for {listener.side} "
                f"({reason}); choose another with {listener.option}."
            )
        if listener.port in taken:
            raise LaunchError(f"{taken[listener.port]} and {listener.option} must differ.")
        taken[listener.port] = listener.option


def listeners(settings: Settings) -> Iterator[Listener]:
    """Yield where this installation listens."""
    gateway, admin = settings.gateway, settings.admin
    yield Listener("the gateway side", "--gateway-port", gateway.host, gateway.port)
    yield Listener("the admin side", "--admin-port", admin.host, admin.port)
    for process in typing.get_args(MeteredProcess):
        port = settings.metrics_port(process)
        if port is not None:
            side, option = f"the metrics of the {process}", f"metrics.{process}_port"
            yield Listener(side, option, settings.metrics.host, port)


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
