"""What the room usage adds to Yumen."""

from collections.abc import Iterable

from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.plugins import Job, hookimpl
from control_plane.usage import partitions, permissions, routes

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
def yumen_jobs() -> Iterable[Job]:
    """Return the jobs that keep the events' partitions."""
    return [
        Job("usage_partitions", every_seconds=_HOUR, run=partitions.create_ahead),
        Job("usage_retention", every_seconds=_HOUR, run=partitions.drop_old),
    ]
