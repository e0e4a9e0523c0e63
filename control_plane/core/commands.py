"""What all commands of `yumen` share: which installation they work on."""

import contextlib
import functools
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from control_plane.core import occasions
from control_plane.core.occasions import ActorKind, Occasion
from control_plane.core.settings import Settings, SettingsError, load_settings

_LOOPBACK: Final = ("127.0.0.0/8", "::1/128")

Command = TypeVar("Command", bound=Callable[..., Any])


def on_installation(command: Command) -> Command:
    """Give *command* the options `--state` and `--config`, and the argument `settings: Settings`.

    Use below `@click.command()`. The path of the configuration file, which a child process needs,
    is found with `config_file()`.
    """

    @click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="YUMEN_STATE",
        help="State directory of the installation.  [default: ./.yumen]",
    )
    @click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="YUMEN_CONFIG",
        help="YAML file with settings that differ from config/defaults.yaml.",
    )
    @functools.wraps(command)
    def wrapper(*args: Any, state: Path | None, config: Path | None, **kwargs: Any) -> Any:
        with occasions.during(Occasion(_path(), ActorKind.COMMAND, name=_user())):
            return command(*args, settings=_load(config, state), **kwargs)

    return wrapper  # type: ignore[return-value]


def config_file() -> Path | None:
    """Return the file that the running command was given with `--config`, absolute."""
    value: Path | None = click.get_current_context().params.get("config")
    return None if value is None else value.absolute()


def upstreams_allowed(settings: Settings) -> tuple[str, ...]:
    """Return the networks that upstreams may be in, public ones apart, under `yumen up`.

    Without `--config`, whose author would have thought of it, that is this machine.
    """
    if config_file() is None and not settings.security.upstream_allow:
        return _LOOPBACK
    return settings.security.upstream_allow


def _path() -> str:
    """Return the command as it was typed, without its arguments."""
    return click.get_current_context().command_path


def _user() -> str:
    """Return who runs the command, as the machine knows him and not as he says."""
    number = os.getuid()
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return str(number)


def _load(config: Path | None, state: Path | None) -> Settings:
    try:
        return load_settings(config, state, os.environ)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
