"""The images are sound as far as that can be told without building them.

Above all they start the commands that `yumen up` supervises and the tests run, by `yumen exec`,
which takes them from the same plan.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from sqlalchemy import make_url

from control_plane.cli import main
from control_plane.core.root import project_root
from control_plane.core.settings import load_settings
from control_plane.launcher.plan import plan
from tests.servers import APPLICATION, OWNER

DOCKER = project_root() / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
OURS = {"control-plane", "worker", "nginx", "shipper"}
STATE = Path("/var/lib/yumen")


def _example() -> dict[str, str]:
    """Return the variables of .env.example, each with some value."""
    lines = (DOCKER / ".env.example").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value or ("secret" if "PASSWORD" in name else "") for name, _, value in pairs}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file as docker-compose itself understands it."""
    command = ["docker-compose", "-f", str(DOCKER / "compose.yaml"), "config"]
    environment = {"PATH": os.environ["PATH"], **_example()}
    result = subprocess.run(
        command, env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    loaded: dict[str, Any] = yaml.safe_load(result.stdout)
    return loaded


@pytest.fixture
def state() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ym"))
    yield folder
    shutil.rmtree(folder)


def _service(compose: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"][name]
    return found


def test_hadolint_finds_nothing() -> None:
    command = [str(Path(sys.executable).with_name("hadolint"))]
    command += ["--config", str(DOCKER.parent / ".hadolint.yaml"), *map(str, DOCKERFILES)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert len(DOCKERFILES) == 2
    assert result.returncode == 0, result.stdout


def test_every_program_has_its_container(compose: dict[str, Any]) -> None:
    """Redis and PostgreSQL are containers of their makers; the rest of the plan is ours."""
    ours = {
        name
        for name, service in compose["services"].items()
        if service.get("command", [""])[0] == "yumen" and name != "init"
    }
    settings = load_settings(None, STATE, _service(compose, "nginx")["environment"])
    assert ours == OURS == {program.name for program in plan(settings, None, None)}
    for name in OURS:
        command = ["yumen", "exec", name, "--state", str(STATE)]
        assert _service(compose, name)["command"] == command
    assert _service(compose, "init")["command"] == ["yumen", "init", "--state", str(STATE)]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_alone_starts_a_program(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    command = r'^CMD \["yumen", "exec", "([\w-]+)", "--state", "(\S+)"\]$'
    name = re.search(command, text, re.MULTILINE)
    assert name is not None
    assert name[1] in OURS
    assert Path(name[2]) == STATE


@pytest.mark.parametrize("name", sorted([*OURS, "redis"]))
def test_exec_starts_what_is_supervised(
    name: str, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _file, command: started.append(command))
    for variable in [each for each in os.environ if each.startswith("YUMEN_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("YUMEN_STATE", str(state))
    result = CliRunner().invoke(main, ["exec", name])
    assert result.exit_code == 0, result.output
    programs = plan(load_settings(None, state, {}), None, None)
    assert started == [list(each.command) for each in programs if each.name == name]


@pytest.mark.parametrize("name", sorted([*OURS, "init"]))
def test_containers_are_given_settings_that_exist(compose: dict[str, Any], name: str) -> None:
    service = _service(compose, name)
    settings = load_settings(None, STATE, service["environment"])
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    needed = ["pepper", "seal"] if name in {"nginx", "shipper"} else ["master", "jwt", "pepper"]
    for secret in needed:
        assert str(settings.secret_file(secret).parent) in mounted


@pytest.mark.parametrize("name", sorted([*OURS, "init"]))
def test_containers_are_confined(compose: dict[str, Any], name: str) -> None:
    service = _service(compose, name)
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    secrets = [volume for volume in service["volumes"] if "secrets" in volume]
    assert secrets
    mode = "rw" if name == "init" else "ro"
    assert [volume for volume in secrets if not volume.endswith(f":{mode}")] == []


def test_a_gateway_gets_neither_database_nor_the_secrets_of_the_control_plane(
    compose: dict[str, Any],
) -> None:
    for name in ("nginx", "shipper"):
        text = yaml.safe_dump(_service(compose, name))
        assert "control-plane" not in text
        assert "DATABASE" not in text


def test_only_init_knows_who_owns_the_tables(compose: dict[str, Any]) -> None:
    for name in sorted(OURS):
        assert "OWNER" not in yaml.safe_dump(_service(compose, name))
    urls = load_settings(None, STATE, _service(compose, "init")["environment"]).database
    assert urls.url is not None
    assert urls.owner_url is not None
    assert (make_url(urls.url).username, make_url(urls.owner_url).username) == (APPLICATION, OWNER)


def test_a_node_has_one_name(compose: dict[str, Any]) -> None:
    """nginx writes the journal under the name by which the shipper knows the node."""
    names = {
        _service(compose, name)["environment"]["YUMEN_GATEWAY_NODE"]
        for name in OURS & {"nginx", "shipper"}
    }
    assert len(names) == 1


def test_servers_that_others_wait_for_are_asked_for_their_health(compose: dict[str, Any]) -> None:
    for name in ("postgres", "redis", "control-plane", "nginx"):
        assert _service(compose, name)["healthcheck"]["test"], name


def test_the_example_names_every_variable(compose: dict[str, Any]) -> None:
    text = (DOCKER / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+)", text))
    assert asked | {"COMPOSE_PROJECT_NAME"} == set(_example())


def test_nginx_has_time_to_drain(compose: dict[str, Any]) -> None:
    service = _service(compose, "nginx")
    settings = load_settings(None, STATE, service["environment"])
    seconds = int(re.sub(r"\D", "", service["stop_grace_period"]))
    assert seconds > settings.gateway.drain_seconds
    nginx = next(each for each in plan(settings, None, None) if each.name == "nginx")
    assert service["stop_signal"] == f"SIG{nginx.stop_signal}"
