"""What the room publishing adds to Yumen."""

from collections.abc import Iterable

from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.figures import Figures
from control_plane.core.plugins import hookimpl
from control_plane.publishing import figures, permissions, routes


@hookimpl
def yumen_permissions() -> Iterable[Permission]:
    """Return the room's rights."""
    return permissions.ALL


@hookimpl
def yumen_blueprints() -> Iterable[Blueprint]:
    """Return the room's routes."""
    return [routes.blueprint]


@hookimpl
def yumen_figures() -> Iterable[Figures]:
    """Return the room's gauges."""
    return [figures.FIGURES]
