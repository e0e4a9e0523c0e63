"""The state directory and what is refused before anything starts."""

import os
import socket
from pathlib import Path

import pytest

from control_plane.core.settings import load_settings
from control_plane.launcher import installation, preflight, requirements
from control_plane.launcher.errors import LaunchError


def test_the_longest_path_that_a_socket_can_have_is_taken(tmp_path: Path) -> None:
    longest = Path("/tmp") / ("x" * (107 - len("/tmp/") - len("/redis/redis.sock")))
    installation.check_path_length(longest)
    with pytest.raises(LaunchError, match="is 1 bytes too long for a Unix socket"):
        installation.check_path_length(Path(f"{longest}x"))


def test_a_second_instance_is_told_who_holds_the_state_directory(tmp_path: Path) -> None:
    assert not installation.is_held(tmp_path)
    with installation.hold(tmp_path):
        assert installation.is_held(tmp_path)
        second = pytest.raises(LaunchError, match=rf"already runs .* \(process {os.getpid()}\)")
        with second, installation.hold(tmp_path):
            pass
    assert not installation.is_held(tmp_path)
    with installation.hold(tmp_path):
        pass


def test_a_taken_port_is_named_with_the_option_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = load_settings(state=tmp_path, environ={"YUMEN_ADMIN_PORT": str(port)})
        with pytest.raises(LaunchError, match=rf"{port} for the admin side .*--admin-port"):
            preflight.check_ports(settings)


def test_both_sides_cannot_have_one_port(tmp_path: Path) -> None:
    port = str(preflight.free_port())
    environ = {"YUMEN_ADMIN_PORT": port, "YUMEN_GATEWAY_PORT": port}
    with pytest.raises(LaunchError, match="must differ"):
        preflight.check_ports(load_settings(state=tmp_path, environ=environ))


def test_what_the_machine_lacks_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = requirements.Requirement("a thing", "libthing", lambda: False)
    monkeypatch.setattr(requirements, "REDIS", lacking)
    with pytest.raises(LaunchError, match=r"no a thing; `make setup` .* libthing"):
        preflight.check_packages(load_settings(state=tmp_path, environ={}))
    elsewhere = load_settings(state=tmp_path, environ={"YUMEN_REDIS_URL": "redis://redis/0"})
    preflight.check_packages(elsewhere)
