"""`yumen shipper`: the agent as a process."""

import click

from control_plane import shipper
from control_plane.core import logging
from control_plane.core.commands import on_installation
from control_plane.core.settings import Settings


@click.command("shipper")
@on_installation
def shipper_command(settings: Settings) -> None:
    """Ship this gateway node's usage journal and keep its last good configuration."""
    logging.configure(settings)
    try:
        shipper.run(settings)
    except shipper.ShipperRunningError as error:
        raise click.ClickException(str(error)) from error
