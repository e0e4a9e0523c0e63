"""Master keys: from a file, the environment or a command, and told clearly when they are wrong."""

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from control_plane.cli import main
from control_plane.core import mail, tenancy
from control_plane.core.crypto import SecretError, ensure_secrets, new_key
from control_plane.core.data_keys import DataKey, data_keys
from control_plane.core.database import Database
from control_plane.core.leader import Leader
from control_plane.core.mail import Mail
from control_plane.core.master_keys import MasterKeys
from control_plane.core.settings import Settings, SettingsError, load_settings
from control_plane.launcher import doctor

ONE, TWO = new_key(), new_key()


def settings_of(folder: Path, **security: str) -> Settings:
    environ = {f"YUMEN_SECURITY_{name.upper()}": value for name, value in security.items()}
    return load_settings(state=folder, environ=environ)


@pytest.mark.parametrize("text", [f"{ONE}\n{TWO}\n", f" {ONE}  {TWO}", f"{ONE.upper()}\r\n{TWO}"])
def test_they_come_from_one_of_three_places(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    sources = [
        {"master_key_file": str(file)},
        {"master_key": text.replace("\n", ",")},
        {"master_key_command": f"cat '{file}'"},
    ]
    ids = [[key.id for key in MasterKeys(settings_of(tmp_path, **s)).read()] for s in sources]
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids[0])) == 2
    assert not {ONE[:16], TWO[:16]} & set(ids[0])


@pytest.mark.parametrize(
    ("security", "sentence"),
    [
        ({"master_key": "short"}, r"^Security.master_key must hold one or more keys of 64"),
        ({"master_key": ONE + "0"}, "must hold one or more"),
        ({"master_key_command": "echo secret-that-was-printed"}, "must hold one or more"),
        ({"master_key_command": "false"}, "master_key_command failed with 1"),
        ({"master_key_command": "no-such-program"}, "cannot be run: No such file"),
        ({"master_key_command": "cat 'unclosed"}, "cannot be run"),
        ({"master_key_file": "/no/such/file"}, "Cannot read the master key /no/such/file: No such"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, security: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SecretError, match=sentence) as caught:
        MasterKeys(settings_of(tmp_path, **security)).read()
    assert "secret-that-was-printed" not in caught.value.message


def test_there_is_one_source_at_a_time(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Only one of security\.master_key"):
        settings_of(tmp_path, master_key=ONE, master_key_command="true")
    assert ONE not in repr(settings_of(tmp_path, master_key=ONE))


def test_a_key_that_is_elsewhere_is_not_made(tmp_path: Path) -> None:
    made = settings_of(tmp_path, master_key=ONE)
    ensure_secrets(made)
    assert not made.secret_file("master").exists()
    with pytest.raises(SecretError, match=r"put a new one .* before the present one"):
        MasterKeys(made).renew(set())


def test_a_new_key_stands_before_the_one_that_is_kept(tmp_path: Path) -> None:
    made = settings_of(tmp_path)
    ensure_secrets(made)
    file = made.secret_file("master")
    first = MasterKeys(made).newest()
    second = MasterKeys(made).renew({first.id})
    third = MasterKeys(made).renew({second.id})
    assert [key.id for key in MasterKeys(made).read()] == [third.id, second.id]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.glob("*master*")] == ["master.key"]


def test_a_running_process_learns_of_a_new_key(database: Database, settings: Settings) -> None:
    with tenancy.platform_context(), database.transaction() as session:
        data_keys(session).current(session, None)
    other = Database(settings)
    MasterKeys(settings).renew({MasterKeys(settings).newest().id})
    assert run(settings, "rotate", "--master").exit_code == 0
    with tenancy.platform_context(), other.session(write=False) as session:
        assert data_keys(session).find(session, None, session.scalars(select(DataKey.id)).one())
    other.close()


def run(settings: Settings, *arguments: str) -> Result:
    """Run `yumen keys` on an installation."""
    urls = {"URL": settings.database.url, "OWNER_URL": settings.database.owner_url}
    environ = {f"YUMEN_DATABASE_{name}": url or "" for name, url in urls.items()}
    command = ["keys", *arguments, "--state", str(settings.state)]
    return CliRunner(env=environ).invoke(main, command)


def test_the_status_counts_what_each_key_encrypts(database: Database, settings: Settings) -> None:
    with database.transaction() as session:
        mail.queue(session, Mail("li@example.com", "Hello", "text"))
    assert run(settings, "rotate").exit_code == 0
    shown = run(settings, "status")
    assert shown.exit_code == 0, shown.output
    newest, earlier = MasterKeys(settings).read()
    for line in (
        f"master key {newest.id} (newest): wraps 1 data keys",
        f"master key {earlier.id} (earlier): wraps 0 data keys",
        "data keys: 1 current",
        "queued_mails.content: 1 current keys",
        "ai_models.api_key: none",
    ):
        assert line in shown.output.splitlines()


def test_two_rotations_do_not_run_at_once(database: Database, settings: Settings) -> None:
    leader = Leader(settings, database, "keys")
    assert leader.holds()
    refused = run(settings, "rotate")
    assert (refused.exit_code, refused.output) == (1, "Error: Another rotation is running.\n")
    leader.release()
    assert run(settings, "rotate").exit_code == 0


def test_a_start_with_another_master_key_names_the_one_that_is_needed(
    database: Database, settings: Settings
) -> None:
    with tenancy.platform_context(), database.transaction() as session:
        data_keys(session).current(session, None)
    needed = MasterKeys(settings).newest().id
    settings.secret_file("master").write_text(ONE)
    opened = Database(settings)
    with pytest.raises(SecretError, match=f"wrapped by the master key {needed}, which is not in"):
        opened.refuse_unsafe_start()
    opened.close()
    said = [f.remedy for f in doctor.check_database(settings) if f.remedy]
    assert any(needed in each for each in said)
    status = run(settings, "status")
    assert status.exit_code == 1
    assert "restore it from your backup" in status.output


def test_the_doctor_looks_at_the_master_key(tmp_path: Path) -> None:
    [found] = doctor.check_secrets(settings_of(tmp_path, master_key=f"{ONE},{TWO}"))
    assert (found.remedy, "and 1 before it" in found.text) == ("", True)
    [found] = doctor.check_secrets(settings_of(tmp_path, master_key_command="false"))
    assert found.remedy
