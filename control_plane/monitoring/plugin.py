"""What the room monitoring adds to Yumen."""

from collections.abc import Iterable

from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.plugins import hookimpl
from control_plane.monitoring import permissions, routes


@hookimpl
def yumen_permissions() -> Iterable[Permission]:
    """Return the room's rights."""
    return permissions.ALL


@hookimpl
def yumen_blueprints() -> Iterable[Blueprint]:
    """Return the room's routes."""
    return [routes.blueprint]
