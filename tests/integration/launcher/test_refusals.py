"""Starts that cannot work: one sentence, a non-zero exit, and nothing has started."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import YUMEN, free_port


@pytest.fixture
def state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ym") as name:
        Path(name).chmod(0o755)
        yield Path(name) / "s"


def refusal(state: Path, *options: str, **environment: str) -> str:
    """Start what must be refused; return what it said."""
    ports = ["--gateway-port", str(free_port()), "--admin-port", str(free_port())]
    done = subprocess.run(
        [str(YUMEN), "up", "--state", str(state), *ports, *options],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not list((state / "run").glob("*.record")), "a program was started"
    assert done.stdout == ""
    return done.stderr.removeprefix("Warning: ").splitlines()[-1]


def test_a_taken_port(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refusal(state, "--gateway-port", port)
    assert said == (
        f"Error: Cannot listen on 127.0.0.1 port {port} for the gateway side "
        "(something else listens there); choose another with --gateway-port."
    )


def test_an_unknown_setting_in_the_environment(state: Path) -> None:
    said = refusal(state, YUMEN_GATEWAY_WORKER="2")
    assert "Unknown setting gateway.worker" in said
    assert "did you mean gateway.workers?" in said


def test_an_unknown_setting_in_the_file(state: Path) -> None:
    config = state.with_name("yumen.yaml")
    config.write_text("gatway:\n  port: 1\n")
    assert "did you mean gateway?" in refusal(state, "--config", str(config))


def test_a_config_that_is_not_there(state: Path) -> None:
    said = refusal(state, "--config", str(state / "none.yaml"))
    assert "none.yaml" in said
    assert "No such file" in said


def test_a_config_that_is_not_yaml(state: Path) -> None:
    config = state.with_name("yumen.yaml")
    config.write_text("gateway: [")
    assert "is not valid YAML" in refusal(state, "--config", str(config))


def test_a_path_too_long_for_a_socket(state: Path) -> None:
    assert "too long for a Unix socket" in refusal(state / ("x" * 100))


def test_a_state_directory_that_cannot_be_made(state: Path) -> None:
    state.write_text("a file")
    done = refusal(state / "below")
    assert "choose another with --state" in done


def test_a_missing_package(state: Path) -> None:
    nowhere = state.with_name("empty")
    nowhere.mkdir()
    said = refusal(state, PATH=str(nowhere))
    assert "no redis-server; `make setup` installs it" in said
    assert "apt-get install redis-server" in said


def test_a_setting_that_nginx_cannot_take(state: Path) -> None:
    assert "gateway.workers" in refusal(state, YUMEN_GATEWAY_WORKERS="100000")
