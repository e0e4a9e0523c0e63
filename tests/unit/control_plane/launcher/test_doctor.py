"""What the doctor says of an installation that is not well."""

import datetime
import os
import socket
from collections import namedtuple
from pathlib import Path

import pytest
from click.testing import CliRunner

from control_plane.core.settings import Settings, load_settings
from control_plane.launcher import doctor
from control_plane.launcher.commands import doctor as command

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(state=tmp_path / "s", environ={})


def remedies(check: doctor.Check, settings: Settings) -> list[str]:
    return [f"{finding.text}: {finding.remedy}" for finding in check(settings) if finding.remedy]


def test_a_new_installation_on_a_good_machine_is_well(settings: Settings) -> None:
    for check in (doctor.check_python, doctor.check_packages, doctor.check_state):
        assert remedies(check, settings) == []
        assert list(check(settings))
    for check in (doctor.check_redis, doctor.check_database, doctor.check_nginx):
        assert remedies(check, settings) == []
        assert list(check(settings))
    assert remedies(doctor.check_clock, settings) == []


def test_a_secret_that_others_can_read_is_named(settings: Settings) -> None:
    secret = settings.secret_file("pepper")
    secret.parent.mkdir(parents=True)
    secret.touch()
    secret.chmod(0o644)  # whatever umask an earlier test has left
    [said] = remedies(doctor.check_secrets, settings)
    assert f"chmod 600 {secret}" in said


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://yumen:s3cret@127.0.0.1:1/yumen"
    settings = load_settings(state=tmp_path, environ={"YUMEN_DATABASE_URL": url})
    [said] = remedies(doctor.check_database, settings)
    assert "does not answer" in said
    assert "s3cret" not in said


def test_a_redis_that_does_not_answer_is_named(tmp_path: Path) -> None:
    environ = {"YUMEN_REDIS_URL": "redis://:s3cret@127.0.0.1:1/0"}
    [said] = remedies(doctor.check_redis, load_settings(state=tmp_path, environ=environ))
    assert "does not answer" in said
    assert "s3cret" not in said


def test_a_setting_that_nginx_cannot_take_is_named(tmp_path: Path) -> None:
    environ = {"YUMEN_GATEWAY_WORKERS": "100000"}
    [said] = remedies(doctor.check_nginx, load_settings(state=tmp_path, environ=environ))
    assert "gateway.workers" in said


def test_a_full_disk_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage(10, 9, 1))
    [said] = remedies(doctor.check_disk, settings)
    assert "0.0 GB free" in said


def test_a_clock_before_our_own_files_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "now", lambda: datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    [said] = remedies(doctor.check_clock, settings)
    assert "before our own files" in said


def test_the_command_fails_when_something_needs_somebody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environ = {**os.environ, "YUMEN_GATEWAY_PORT": port}
        result = CliRunner(env=environ).invoke(command, ["--state", str(tmp_path)])
    assert result.exit_code == 1
    assert f"fail  ports       127.0.0.1:{port}: something else listens there" in result.output
    assert "1 of these need you." in result.output
