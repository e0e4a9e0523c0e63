"""One part of an installation by itself, as a container runs it: `yumen init` and `yumen exec`."""

import os
from typing import Final

import click

from control_plane.core.commands import config_file, on_installation
from control_plane.core.settings import Settings
from control_plane.gateway import RenderError
from control_plane.launcher.errors import LaunchError
from control_plane.launcher.installation import make_folders
from control_plane.launcher.plan import SERVERS, YUMEN_COMMANDS, program
from control_plane.launcher.prepare import prepare_control_plane, prepare_gateway
from control_plane.launcher.ready_file import OPERATOR

PROGRAMS: Final = sorted([*SERVERS, *YUMEN_COMMANDS])


@click.command("init")
@on_installation
def init_command(settings: Settings) -> None:
    """Make what is missing of secrets, schema and first operator, and end.

    The operator's password is shown once. `yumen up` does this by itself.
    """
    os.umask(0o077)
    try:
        make_folders(settings.state)
        password = prepare_control_plane(settings)
    except LaunchError as error:
        raise click.ClickException(str(error)) from error
    if password:
        click.echo(f"Sign in as {OPERATOR} / {password} (shown only now; change it when you can).")
    click.echo("Secrets, schema and operator are there.")


@click.command("exec")
@click.argument("name", metavar="PROGRAM", type=click.Choice(PROGRAMS))
@on_installation
def exec_command(settings: Settings, name: str) -> None:
    """Become one of the programs that `yumen up` supervises."""
    os.umask(0o077)
    config = config_file()
    try:
        make_folders(settings.state)
        if name == "nginx":
            prepare_gateway(settings)
        command = program(name, settings, config).command
    except (LaunchError, RenderError) as error:
        raise click.ClickException(str(error)) from error
    # gunicorn's application finds its installation by these.
    os.environ["YUMEN_STATE"] = str(settings.state)
    if config is not None:
        os.environ["YUMEN_CONFIG"] = str(config)
    os.execvp(command[0], list(command))  # noqa: S606 - the program takes over this very process
