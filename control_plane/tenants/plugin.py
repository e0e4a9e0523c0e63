"""What the room tenants adds to Yumen."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click
from sqlalchemy.orm import Session

from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.manifest import Kind
from control_plane.core.plugins import Job, Section, hookimpl
from control_plane.tenants import commands, documents, manifest, permissions, routes
from control_plane.tenants.schemas import TenantSchema
from control_plane.tenants.service import lifecycle, moving, purge, tenants

_LIFE_SECONDS = 10
_LEFT_SECONDS = 30


@hookimpl
def yumen_permissions() -> Iterable[Permission]:
    """Return the room's rights."""
    return permissions.ALL


@hookimpl
def yumen_blueprints() -> Iterable[Blueprint]:
    """Return the room's routes."""
    return routes.BLUEPRINTS


@hookimpl
def yumen_commands(cli: click.Group) -> None:
    """Add the command `tenant`."""
    cli.add_command(commands.tenant)


@hookimpl
def yumen_config_sections() -> Iterable[Section]:
    """Return the sections `tenants` and `profiles`."""
    return documents.SECTIONS


@hookimpl
def yumen_manifest_kinds() -> Iterable[Kind]:
    """Return how tenants stand in a manifest."""
    return [manifest.TENANTS]


@hookimpl
def yumen_jobs() -> Iterable[Job]:
    """Return the jobs that end what is over: tenants' time, deleted tenants, left schemas."""
    return [
        Job("expire_tenants", every_seconds=_LIFE_SECONDS, run=lifecycle.run_expiry),
        Job("purge_tenants", every_seconds=_LIFE_SECONDS, run=purge.run_purge),
        Job("drop_left_schemas", every_seconds=_LEFT_SECONDS, run=moving.run_drop_left),
    ]


@hookimpl
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield the tenant itself, with its configuration."""
    tenant = tenants.get_tenant(session, tenant_id)
    yield "tenant", [TenantSchema(exclude=["domains"]).dump(tenant)]
