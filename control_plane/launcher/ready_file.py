"""The ready-file: what a script needs to know of a running installation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from control_plane.core.settings import Settings
from control_plane.demo import DemoRecord, write_private
from control_plane.launcher.errors import LaunchError
from control_plane.launcher.privileges import as_starter
from control_plane.launcher.readiness import admin_url, gateway_url

OPERATOR: Final = "operator"
_PID_NAMES: Final = {
    "nginx": "nginx",
    "redis": "redis",
    "control-plane": "controlPlane",
    "worker": "worker",
    "shipper": "shipper",
}


def ready_content(
    settings: Settings, password: str | None, demo: DemoRecord | None, pids: Mapping[str, int]
) -> dict[str, Any]:
    """Return addresses, credentials and the pids of the programs' leaders."""
    content: dict[str, Any] = {
        "gateway": gateway_url(settings),
        "admin": admin_url(settings),
        "operator": {"username": OPERATOR, "password": password},
    }
    if demo is not None:
        content["demo"] = demo.tenant
    content["pids"] = {wire: pids[name] for name, wire in _PID_NAMES.items() if name in pids}
    return content


def write_ready_file(file: Path, content: dict[str, Any]) -> None:
    """Write the file whole, for the eyes of whoever started us."""
    try:
        with as_starter():
            write_private(file, content)
    except OSError as error:
        raise LaunchError(f"Cannot write the ready-file {file}: {error.strerror}.") from error


def remove_ready_file(file: Path) -> None:
    """Remove the file: what it says is not true, or not any more."""
    try:
        with as_starter():
            file.unlink(missing_ok=True)
    except OSError as error:
        raise LaunchError(f"Cannot remove the ready-file {file}: {error.strerror}.") from error
