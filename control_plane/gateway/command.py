"""The command `yumen render`: writes the gateway's files without starting anything."""

from pathlib import Path

import click

from control_plane.core.crypto import ensure_secrets
from control_plane.core.settings import SettingsError, load_settings
from control_plane.gateway.nginx import RenderError
from control_plane.gateway.rendering import render


@click.command("render")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file with settings.")
@click.option("--state", type=click.Path(path_type=Path), help="State directory.")
def render_command(config: Path | None, state: Path | None) -> None:
    """Render nginx.conf and node.json from the settings, and test them."""
    try:
        settings = load_settings(config, state)
        ensure_secrets(settings)
        prefix = render(settings)
    except (SettingsError, RenderError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{prefix}/nginx.conf")
