"""The command `yumen tenant`."""

import uuid

import click
from sqlalchemy.exc import DBAPIError

from control_plane.core.commands import on_installation
from control_plane.core.database import Database
from control_plane.core.errors import ApiError
from control_plane.core.settings import Settings
from control_plane.tenants.models import Isolation
from control_plane.tenants.service import moving


@click.group()
def tenant() -> None:
    """Look after tenants."""


@tenant.command("move")
@click.argument("tenant_id", type=click.UUID)
@click.option(
    "--to",
    "isolation",
    type=click.Choice([each.value for each in Isolation]),
    required=True,
    help="`schema`: a schema of its own; `row`: the tables that tenants share.",
)
@on_installation
def move_command(settings: Settings, tenant_id: uuid.UUID, isolation: str) -> None:
    """Move a tenant's business data; its traffic is suspended meanwhile."""
    database = Database(settings)
    try:
        moved = moving.move_tenant(database, tenant_id, Isolation(isolation))
    except ApiError as error:
        reasons = [each["detail"] for each in error.errors]
        raise click.ClickException(" ".join(reasons) or error.detail) from error
    except DBAPIError as error:
        reason = str(error.orig).partition("\n")[0]
        raise click.ClickException(f"Nothing was moved: {reason}. Try again.") from error
    finally:
        database.close()
    if moved is None:
        click.echo(f"The isolation of {tenant_id} is {isolation} already.")
    else:
        click.echo(f"Moved {moved} rows of {tenant_id} and compared them: it is {isolation} now.")
