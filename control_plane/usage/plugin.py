"""What the room usage adds to Yumen."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy.orm import Session

from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.figures import Figures
from control_plane.core.plugins import Job, hookimpl
from control_plane.usage import figures, partitions, permissions, routes, service
from control_plane.usage.schemas import UsageEventSchema

_HOUR = 3600.0


@hookimpl
def yumen_permissions() -> Iterable[Permission]:
    """Return the room's rights."""
    return permissions.ALL


@hookimpl
def yumen_blueprints() -> Iterable[Blueprint]:
    """Return the room's routes."""
    return [routes.blueprint]


@hookimpl
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield the tenant's calls, the newest first."""
    schema = UsageEventSchema(many=True)
    for events in service.all_events(session, tenant_id):
        yield "usageEvent", schema.dump(events)


@hookimpl
def yumen_jobs() -> Iterable[Job]:
    """Return the jobs that keep the events' partitions."""
    return [
        Job("usage_partitions", every_seconds=_HOUR, run=partitions.create_ahead),
        Job("usage_retention", every_seconds=_HOUR, run=partitions.drop_old),
    ]


@hookimpl
def yumen_figures() -> Iterable[Figures]:
    """Return the room's gauges."""
    return [figures.FIGURES]
