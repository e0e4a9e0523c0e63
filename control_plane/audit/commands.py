"""The command `yumen audit`."""

import sys
from pathlib import Path

import click
from sqlalchemy.exc import SQLAlchemyError

from control_plane.audit import chain, verification
from control_plane.audit.anchors import Anchors, AnchorsError, path_of
from control_plane.core import tenancy
from control_plane.core.commands import on_installation
from control_plane.core.crypto import SecretError
from control_plane.core.database import Database
from control_plane.core.settings import Settings

BROKEN, CANNOT_TELL = 1, 2


@click.group()
def audit() -> None:
    """Look after the audit log."""


@audit.command("verify")
@click.option(
    "--tenant",
    help="Only this tenant's chain, by its id, or `platform`.  [default: all]",
)
@click.option(
    "--anchors",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file of anchors, or a copy of it.  [default: STATE/audit-anchors.jsonl]",
)
@on_installation
def verify_command(settings: Settings, tenant: str | None, path: Path | None) -> None:
    """Tell whether somebody tampered with the audit log.

    One line for each fault: the chain, its rows, and what was done to them. Exits with 0 when the
    log is whole, with 1 when it is not, with 2 when that cannot be told.
    """
    database = Database(settings)
    try:
        sys.exit(_verify(database, path or path_of(settings), tenant))
    except (SQLAlchemyError, SecretError, OSError) as error:
        click.echo(f"Cannot tell: {error}", err=True)
        sys.exit(CANNOT_TELL)
    finally:
        database.close()


def _verify(database: Database, path: Path, tenant: str | None) -> int:
    only = None if tenant is None else _chain(tenant)
    key = chain.key_of(database.keyring)
    anchors, faults = Anchors(path, key), 0
    try:
        anchors.load()
    except AnchorsError as error:
        click.echo(f"anchors: {error}")
        faults += 1
    with tenancy.platform_context(), database.session(write=False) as session:
        for fault in verification.verify(session, key, anchors.last, only):
            click.echo(str(fault))
            faults += 1
        rows = verification.count(session, only)
    if faults:
        click.echo(f"The audit log was tampered with: {faults} faults.", err=True)
        return BROKEN
    if rows and not anchors.last:
        click.echo(f"Cannot tell: {path} has no anchors, so rows may have been cut off.", err=True)
        return CANNOT_TELL
    click.echo(f"The audit log is whole: {rows} rows.")
    return 0


def _chain(tenant: str) -> str:
    if tenant == chain.PLATFORM:
        return tenant
    return str(click.UUID.convert(tenant, None, None))
