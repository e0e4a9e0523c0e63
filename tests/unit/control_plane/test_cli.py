"""The command line: each command is there, and is asked about an installation in one way."""

import importlib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from control_plane.cli import COMMANDS, main

ABOUT_NO_INSTALLATION = {"demo-upstream", "routes"}


def leaves(group: click.Group, name: str = "") -> dict[str, click.Command]:
    """Return all commands below *group* by their full names."""
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        assert command is not None
        full = f"{name} {each}".strip()
        found |= leaves(command, full) if isinstance(command, click.Group) else {full: command}
    return found


def test_every_command_says_what_it_does_and_for_which_installation() -> None:
    commands = leaves(main)
    assert {name.split()[0] for name in commands} >= set(COMMANDS)
    for name, command in commands.items():
        assert command.help, name
        options = {option for parameter in command.params for option in parameter.opts}
        assert name in ABOUT_NO_INSTALLATION or options >= {"--state", "--config"}, name


@pytest.mark.parametrize("target", COMMANDS.values())
def test_a_command_is_where_the_table_says(target: str) -> None:
    module, _, attribute = target.partition(":")
    assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)


def test_the_schema_is_looked_after(tmp_path: Path) -> None:
    def db(command: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["db", command, "--state", str(tmp_path)])
        return result.exit_code, result.output

    code, output = db("status")
    assert (code, "tenants_0001" in output) == (1, True)
    assert db("upgrade") == (0, "The schema is up to date.\n")
    assert db("status") == (0, "The schema is up to date.\n")


def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    config = tmp_path / "yumen.yaml"
    config.write_text("gateway: {wokers: 1}")
    result = CliRunner().invoke(main, ["db", "status", "--config", str(config)])
    assert result.exit_code == 1
    assert result.output.startswith("Error: Unknown setting gateway.wokers in")
    assert len(result.output.splitlines()) == 1
