"""The command `yumen`: collects the commands of all parts, each loaded when it is asked for."""

import importlib

import click

import control_plane
from control_plane.core import plugins

COMMANDS = {
    "apply": "control_plane.manifest.commands:apply_command",
    "check": "control_plane.checking.command:check_command",
    "db": "control_plane.core.migrations:db",
    "demo-upstream": "control_plane.demo.commands:demo_upstream",
    "doctor": "control_plane.launcher.commands:doctor",
    "exec": "control_plane.launcher.alone:exec_command",
    "export": "control_plane.manifest.commands:export_command",
    "init": "control_plane.launcher.alone:init_command",
    "up": "control_plane.launcher.commands:up",
    "keys": "control_plane.core.key_commands:keys",
    "routes": "control_plane.routes:routes_command",
    "render": "control_plane.gateway.command:render_command",
    "shipper": "control_plane.shipper.command:shipper_command",
    "worker": "control_plane.worker:worker_command",
}
"""Command name to `module:command`. Rooms add theirs by the hook `yumen_commands` instead."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        self._add_rooms_commands()
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command *cmd_name*, None if there is none."""
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name].partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        self._add_rooms_commands()
        return super().get_command(ctx, cmd_name)

    def _add_rooms_commands(self) -> None:
        if not self.commands:
            plugins.manager().hook.yumen_commands(cli=self)


@click.group(cls=LazyGroup)
@click.version_option(control_plane.__version__, prog_name="yumen")
def main() -> None:
    """Run and look after Yumen, the multi-tenant AI and API gateway."""


if __name__ == "__main__":
    main()
