"""Whom the programs run as when root starts them."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.launcher import privileges

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use an account that every machine has."""
    monkeypatch.setattr(privileges, "USER", "nobody")


@pytest.fixture
def state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ym") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "state" / "log").mkdir(parents=True, mode=0o700)
        yield folder / "state"


def test_the_state_directory_is_handed_over_and_root_is_still_there_for_a_moment(
    state: Path,
) -> None:
    account = privileges.find_account(state, None)
    privileges.give(state, account)
    with privileges.acting_as(account):
        (state / "log" / "x").write_text("")
        with pytest.raises(PermissionError):
            (state.parent / "x").write_text("")
        with privileges.as_starter():
            (state.parent / "x").write_text("")
    assert (state / "log" / "x").stat().st_uid == account.uid
    assert (state.parent / "x").stat().st_uid == 0


def test_a_folder_in_the_way_is_named_with_its_remedy(state: Path) -> None:
    state.parent.chmod(0o700)
    with pytest.raises(privileges.UnreachableError, match=rf"`chmod o\+x {state.parent}`"):
        privileges.find_account(state, None)
    assert os.geteuid() == 0


def test_a_config_that_it_cannot_read_is_named(state: Path) -> None:
    config = state.parent / "yumen.yaml"
    config.touch(mode=0o600)
    with pytest.raises(privileges.UnreachableError, match=r"cannot read .*yumen\.yaml"):
        privileges.find_account(state, config)


def test_a_missing_user_is_named_with_the_command_that_adds_it(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privileges, "USER", "no-such-user")
    with pytest.raises(privileges.UnreachableError, match=r"`useradd .* no-such-user` adds it"):
        privileges.find_account(state, None)


def test_what_is_not_roots_is_not_handed_over(state: Path) -> None:
    account = privileges.find_account(state, None)
    os.chown(state, 1, 1)
    privileges.give(state, account)
    assert state.stat().st_uid == 1
