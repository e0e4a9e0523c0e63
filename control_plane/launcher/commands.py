"""The commands that run an installation and look at it: `yumen up` and `yumen doctor`."""

import os
from pathlib import Path

import click

from control_plane.core.commands import config_file, on_installation, upstreams_allowed
from control_plane.core.settings import Settings, SettingsError, load_settings
from control_plane.demo import DemoError
from control_plane.launcher.doctor import CHECKS
from control_plane.launcher.errors import LaunchError
from control_plane.launcher.life import Options
from control_plane.launcher.up import up as run


@click.command()
@on_installation
@click.option("--gateway-port", type=click.IntRange(1, 65535), help="Default: 8080.")
@click.option("--admin-port", type=click.IntRange(1, 65535), help="Default: 8081.")
@click.option("--demo", is_flag=True, help="Add a tenant to try, with a model of made-up answers.")
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write addresses, credentials and process ids there (JSON) once all is ready.",
)
def up(
    settings: Settings,
    *,
    gateway_port: int | None,
    admin_port: int | None,
    demo: bool,
    ready_file: Path | None,
) -> None:
    """Start Yumen and everything it needs, and keep it running.

    Without --config, platform operators may use upstreams on this machine (loopback).
    """
    config = config_file()
    # What the options say reaches the programs by the environment, which they read anyhow.
    chosen: dict[str, object] = {
        "YUMEN_STATE": settings.state,
        "YUMEN_CONFIG": config,
        "YUMEN_GATEWAY_PORT": gateway_port,
        "YUMEN_ADMIN_PORT": admin_port,
        "YUMEN_SECURITY_UPSTREAM_ALLOW": ",".join(upstreams_allowed(settings)),
    }
    os.environ.update({name: str(value) for name, value in chosen.items() if value is not None})
    options = Options(config, demo, ready_file.absolute() if ready_file else None)
    try:
        run(load_settings(config, settings.state, os.environ), options)
    except (LaunchError, SettingsError, DemoError) as error:
        raise click.ClickException(str(error)) from error


@click.command()
@on_installation
def doctor(settings: Settings) -> None:
    """Check everything Yumen needs, and say what to do about what is wrong."""
    failures = 0
    for name, check in CHECKS.items():
        for finding in check(settings):
            failures += bool(finding.remedy)
            mark = (
                click.style("fail", fg="red") if finding.remedy else click.style("ok", fg="green")
            )
            click.echo(f"{mark:<4}  {name:<10}  {finding.text}")
            if finding.remedy:
                click.echo(f"{'':<18}{finding.remedy}")
    if failures:
        raise click.ClickException(f"{failures} of these need you.")
