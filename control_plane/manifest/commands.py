"""The commands `yumen export` and `yumen apply`."""

import json
import sys
from pathlib import Path
from typing import Any

import click
from sqlalchemy.orm.exc import StaleDataError

from control_plane.core.commands import on_installation
from control_plane.core.database import Database
from control_plane.core.settings import Settings
from control_plane.manifest import files
from control_plane.manifest.applying import Change, Outcome, RefusedError, apply
from control_plane.manifest.exporting import exported
from control_plane.manifest.files import ManifestError


@click.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a file for each section and each tenant into this folder.  [default: one manifest"
    " to standard output]",
)
@on_installation
def export_command(settings: Settings, folder: Path | None) -> None:
    """Write the whole configuration as YAML; secrets are named, not shown."""
    database = Database(settings)
    try:
        with database.session(write=False) as session:
            if folder is None:
                files.write(sys.stdout, exported(session))
            else:
                files.write_folder(folder, exported(session))
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    finally:
        database.close()


@click.command()
@click.option(
    "-f",
    "--file",
    "path",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="A manifest, or a folder of them.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--prune", is_flag=True, help="Delete what a section of the manifest does not name.")
@on_installation
def apply_command(settings: Settings, path: Path, *, dry_run: bool, prune: bool) -> None:
    """Make the configuration what a manifest says, all of it or nothing."""
    database = Database(settings)
    try:
        sections = files.read(path)
        with database.session() as session:
            outcome = apply(session, sections, prune=prune)
            if not dry_run:
                session.commit()
    except (ManifestError, RefusedError) as error:
        raise click.ClickException(f"{error}\nNothing was changed.") from error
    except StaleDataError as error:
        raise click.ClickException(
            "Somebody changed the configuration meanwhile: try again. Nothing was changed."
        ) from error
    finally:
        database.close()
    _print(outcome, dry_run=dry_run)


def _print(outcome: Outcome, *, dry_run: bool) -> None:
    for change in outcome.changes:
        click.echo(f"{change.sign} {change.name}{_told(change)}")
    for name in outcome.kept_secrets:
        click.echo(f"  {name} stays: what the manifest names for it is not there.")
    counts = dict.fromkeys("+~-", 0)
    for change in outcome.changes:
        counts[change.sign] += 1
    done = "would be " if dry_run else ""
    click.echo(
        f"{counts['+']} {done}created, {counts['~']} {done}changed, {counts['-']} {done}deleted,"
        f" {outcome.unchanged} unchanged."
    )


def _told(change: Change) -> str:
    fields = [
        f"{name} {_text(before)} → {_text(after)}"
        for name, (before, after) in change.fields.items()
    ]
    return ": " + ", ".join(fields) if fields else ""


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
