"""A newcomer's first minute: clone, `make run`, what the README says to paste, Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.launcher.processes import list_session
from tests.stack import free_port, until

ROOT = Path(__file__).resolve().parents[2]
SETUP_SECONDS = 300
SECOND_START_SECONDS = 60


@pytest.fixture
def clone() -> Iterator[Path]:
    """Return a fresh clone, where the user `yumen` can reach it."""
    with tempfile.TemporaryDirectory(prefix="ym") as name:
        folder = Path(name)
        folder.chmod(0o755)
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder / "yumen")], check=True)
        yield folder / "yumen"


def commands_to_paste(readme: Path) -> list[str]:
    """Return the README's shell commands below the heading that promises sixty seconds."""
    text = readme.read_text("utf-8")
    _, _, section = re.split(
        r"^## .*(sixty seconds).*$", text, maxsplit=1, flags=re.IGNORECASE | re.MULTILINE
    )
    section = section.partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE)


def paste(command: str, clone: Path, ports: dict[str, int]) -> dict[str, object]:
    """Run a command as printed, except for the ports; return the JSON it prints."""
    for printed, real in (("8080", ports["GATEWAY_PORT"]), ("8081", ports["ADMIN_PORT"])):
        command = re.sub(rf":{printed}\b", f":{real}", command)
    done = subprocess.run(
        ["bash", "-c", command], cwd=clone, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def make_run(clone: Path, ports: dict[str, int]) -> "subprocess.Popen[bytes]":
    variables = [f"{name}={port}" for name, port in ports.items()]
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("YUMEN_", "MAKE", "PYTEST_"))
    }
    with (clone / "make.log").open("ab") as output:
        return subprocess.Popen(
            ["make", "run", "READY_FILE=ready.json", *variables],
            cwd=clone,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def test_two_commands_and_the_call_is_metered(clone: Path) -> None:
    ports = {"GATEWAY_PORT": free_port(), "ADMIN_PORT": free_port()}
    ready, log = clone / "ready.json", clone / "make.log"
    call, usage = commands_to_paste(clone / "README.md")
    call_zh, usage_zh = commands_to_paste(clone / "README.zh-CN.md")
    assert "curl" in call
    for seconds, calls in ((SETUP_SECONDS, 1), (SECOND_START_SECONDS, 2)):
        make = make_run(clone, ports)
        try:
            until(lambda make=make: ready.exists() or make.poll() is not None, "ready", seconds)
            assert make.poll() is None, log.read_text()
            assert "Yumen is ready." in log.read_text()
            answer = paste(call if calls == 1 else call_zh, clone, ports)
            assert answer["object"] == "chat.completion"
            shown = usage if calls == 1 else usage_zh
            until(
                lambda shown=shown, calls=calls: paste(shown, clone, ports)["calls"] == calls,
                f"{calls} calls in the usage",
                5,
            )
            session = json.loads((clone / ".yumen/run/session.json").read_text())["session"]
        finally:
            make.send_signal(signal.SIGTERM)
            make.wait(60)
        assert list_session(session) == []
        assert list_session(make.pid) == []
        assert not ready.exists()
    assert log.read_text().count("Installing Python packages …") == 1
