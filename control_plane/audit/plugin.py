"""What the room audit adds to Yumen."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click
from sqlalchemy.orm import Session

from control_plane.audit import commands, permissions, recording, retention, routes, service
from control_plane.audit.anchors import Anchoring
from control_plane.audit.schemas import AuditLogSchema
from control_plane.core.api import Blueprint
from control_plane.core.audit_entries import Entry
from control_plane.core.auth import Permission
from control_plane.core.plugins import Job, hookimpl

_ANCHOR_SECONDS = 300
_RETENTION_SECONDS = 3600


@hookimpl
def yumen_permissions() -> Iterable[Permission]:
    """Return the room's rights."""
    return permissions.ALL


@hookimpl
def yumen_blueprints() -> Iterable[Blueprint]:
    """Return the room's routes."""
    return [routes.blueprint]


@hookimpl
def yumen_commands(cli: click.Group) -> None:
    """Add `yumen audit`."""
    cli.add_command(commands.audit)


@hookimpl
def yumen_jobs() -> Iterable[Job]:
    """Return the jobs that anchor the chains, and drop what is past its time."""
    return [
        Job("anchor_audit_log", every_seconds=_ANCHOR_SECONDS, run=Anchoring().run),
        Job("cut_audit_log", every_seconds=_RETENTION_SECONDS, run=retention.drop_old),
    ]


@hookimpl
def yumen_record(session: Session, entries: Sequence[Entry]) -> None:
    """Append the entries to the chains."""
    recording.append(session, entries)


@hookimpl
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield what was done about the tenant; its purge leaves that where it is."""
    schema = AuditLogSchema(many=True)
    for entries in service.all_logs(session, tenant_id):
        yield "auditLog", schema.dump(entries)
