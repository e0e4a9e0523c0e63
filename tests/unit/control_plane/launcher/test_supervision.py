"""What supervisord is told, as it reads it itself."""

import shlex
import sys
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from control_plane.core.settings import load_settings
from control_plane.launcher.plan import plan
from control_plane.launcher.supervision import Program, render_config


@pytest.fixture
def understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerOptions:
    """Return the options as supervisord understands what we write."""
    state = tmp_path / "50% state"
    for name in ("log", "run"):
        (state / name).mkdir(parents=True)
    monkeypatch.chdir(state)
    programs = [
        Program("first", ["/bin/echo", "a b", "%(here)s", "it's"]),
        Program("last", ["/bin/true"], stop_signal="QUIT", stop_seconds=35, knows_master_key=True),
    ]
    config = state / "run" / "supervisord.conf"
    config.write_text(render_config(state, programs), "utf-8")
    options = ServerOptions()
    options.realize(["--configuration", str(config)])
    return options


def test_programs_start_in_order_and_keep_their_arguments(understood: ServerOptions) -> None:
    first, last = (group.process_configs[0] for group in sorted(understood.process_group_configs))
    assert (first.name, last.name) == ("first", "last")
    words = shlex.split(first.command)
    assert words[:3] == [sys.executable, "-m", "control_plane.launcher.child"]
    assert words[4:] == ["/bin/echo", "a b", "%(here)s", "it's"]
    assert first.directory == str(Path.cwd())
    assert "50% state" in first.directory


def test_a_program_is_started_again_and_ended_as_it_asked(understood: ServerOptions) -> None:
    first, last = (group.process_configs[0] for group in sorted(understood.process_group_configs))
    assert first.autorestart is not False
    assert first.killasgroup
    assert (first.stopsignal, first.stopwaitsecs) == (15, 10)
    assert (last.stopsignal, last.stopwaitsecs) == (3, 35)


def test_only_who_needs_the_master_key_is_given_it(understood: ServerOptions) -> None:
    first, last = (group.process_configs[0] for group in sorted(understood.process_group_configs))
    assert first.environment == {"YUMEN_SECURITY_MASTER_KEY": ""}
    assert not last.environment
    programs = plan(load_settings(environ={"YUMEN_REDIS_URL": "redis://x"}), None, 1)
    knowing = {program.name for program in programs if program.knows_master_key}
    assert knowing == {"control-plane", "worker"}
