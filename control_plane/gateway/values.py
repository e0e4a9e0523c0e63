"""Every value that reaches nginx.conf, checked by a strict form of its own."""

import os
import pwd
import re
import resource
from pathlib import Path
from typing import Final

from control_plane.contract.telemetry import COUNTS
from control_plane.core import addresses
from control_plane.core.root import project_root
from control_plane.core.settings import Settings
from control_plane.gateway.nginx import RenderError

LOG_LEVELS: Final = {"debug": "info", "info": "notice", "warning": "warn", "error": "error"}
_OPEN_FILES: Final = 65536
_COUNT_BYTES: Final = 128
"""What shared memory takes for one number and its name."""
_PATH: Final = re.compile(r"/[\w./+@~:,= -]*")
_LIMITS: Final = {
    "workers": (1, 512),
    "body_limit_mb": (1, 1024),
    "drain_seconds": (1, 86400),
    "connect_seconds": (1, 300),
    "read_seconds": (1, 86400),
    "keepalive_seconds": (1, 3600),
    "config_memory_mb": (1, 65536),
    "allowance_memory_mb": (1, 65536),
    "upstream_slots": (1, 4096),
    "counted_services": (1, 5000),
    "counted_tenants": (1, 5000),
    "client_header_seconds": (1, 3600),
    "client_body_seconds": (1, 3600),
}

Values = dict[str, str | int | list[str] | None]


def template_values(settings: Settings, modules: list[str]) -> Values:
    """Return what the template is rendered with.

    Raises:
        RenderError: a setting cannot stand in nginx.conf; the message names it.
    """
    values: Values = {name: _number(settings, name) for name in _LIMITS}
    values["modules"] = [_path("the nginx module", module) for module in modules]
    values["root"] = _path("the installation's directory", str(project_root()))
    values["ca_file"] = _path("gateway.ca_file", settings.gateway.ca_file)
    values["listen"] = listen_address(settings)
    values["metrics_listen"] = _metrics_address(settings)
    values["trusted_proxies"] = _networks(settings)
    values["telemetry_memory_mb"] = _telemetry_memory(settings)
    values["user"] = _user(settings.state)
    values["open_files"] = min(_OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    if settings.logging.level not in LOG_LEVELS:
        raise RenderError(f"logging.level must be one of {', '.join(LOG_LEVELS)}.")
    values["log_level"] = LOG_LEVELS[settings.logging.level]
    return values


def listen_address(settings: Settings) -> str:
    """Return address and port of the gateway as nginx's `listen` takes them."""
    host = "127.0.0.1" if settings.gateway.host == "localhost" else settings.gateway.host
    return _address("gateway.host", host, "gateway.port", settings.gateway.port)


def _metrics_address(settings: Settings) -> str | None:
    """Return where the gateway tells its metrics; None is nowhere."""
    port = settings.metrics_port("gateway")
    if port is None:
        return None
    return _address("metrics.host", settings.metrics.host, "metrics.gateway_port", port)


def _address(host_name: str, host: str, port_name: str, port: int) -> str:
    if not 1 <= port <= 65535:
        raise RenderError(f"{port_name} must be from 1 to 65535.")
    try:
        address = addresses.parse(host)
    except ValueError as error:
        raise RenderError(f"{host_name} must be an IP address, such as 127.0.0.1.") from error
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _telemetry_memory(settings: Settings) -> int:
    """Return the megabytes that hold what a node counts of so many services and tenants."""
    counted = settings.gateway.counted_services + settings.gateway.counted_tenants
    return 2 + counted * len(COUNTS) * _COUNT_BYTES // 2**20


def _networks(settings: Settings) -> list[str]:
    """Return the proxies to believe as nginx's `set_real_ip_from` takes them."""
    try:
        return [str(network) for network in addresses.networks(settings.gateway.trusted_proxies)]
    except ValueError as error:
        raise RenderError(f"gateway.trusted_proxies: {error}.") from error


def _number(settings: Settings, name: str) -> int:
    value: int = getattr(settings.gateway, name)
    least, most = _LIMITS[name]
    if type(value) is not int or not least <= value <= most:
        raise RenderError(f"gateway.{name} must be a whole number from {least} to {most}.")
    return value


def _path(name: str, value: str) -> str:
    # No quote, backslash, `$`, `;`, `?`, brace or line break: they mean something to nginx or Lua.
    if not _PATH.fullmatch(value):
        raise RenderError(f"{name} must be an absolute path of plain characters, not {value!r}.")
    return value


def _user(state: Path) -> str | None:
    """Return whom nginx's workers run as when its master is root: who owns the state directory."""
    if os.geteuid() != 0:
        return None
    name = pwd.getpwuid(state.stat().st_uid).pw_name
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", name):
        raise RenderError(f"the owner of {state} has a name that nginx cannot take: {name!r}.")
    return name
