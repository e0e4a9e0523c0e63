"""The command `yumen routes`: what the API serves, who may use it, and which room it is of."""

import dataclasses
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import flask

from control_plane.app import create_app
from control_plane.contract import camel_case
from control_plane.core.crypto import ensure_secrets
from control_plane.core.settings import load_settings

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclasses.dataclass(frozen=True)
class Route:
    """One operation of the API."""

    method: str
    path: str
    permission: str
    """The name of the permission that it needs, or `public`."""
    room: str


def routes() -> list[Route]:
    """Return all operations, by path, as an installation with the default settings serves them."""
    with tempfile.TemporaryDirectory() as state:
        settings = load_settings(None, Path(state), {"YUMEN_LOGGING_LEVEL": "error"})
        ensure_secrets(settings)
        app = create_app(settings)
        app.extensions["yumen_database"].close()
    return sorted(_of(app), key=lambda route: (route.path, _METHODS.index(route.method)))


def _of(app: flask.Flask) -> Iterator[Route]:
    for rule in app.url_map.iter_rules():
        view: Any = getattr(app.view_functions[rule.endpoint], "view_class", None)
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: f"{{{camel_case(match[1])}}}", rule.rule)
        for method in _METHODS:
            handler = getattr(view, method.lower(), None)
            if handler is not None and method in (rule.methods or ()):
                room = view.__module__.removeprefix("control_plane.").partition(".")[0]
                yield Route(method, path, handler.guard, room)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return *rows* with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


@click.command("routes")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def routes_command(*, as_json: bool) -> None:
    """List the API's routes with the permission each needs."""
    found = [dataclasses.asdict(route) for route in routes()]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        head = [field.name.upper() for field in dataclasses.fields(Route)]
        click.echo(_table([head, *(list(row.values()) for row in found)]))
