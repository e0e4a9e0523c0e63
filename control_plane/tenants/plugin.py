"""What the room tenants adds to Yumen."""

from collections.abc import Iterable

from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.plugins import Job, Section, hookimpl
from control_plane.tenants import documents, permissions, routes, service

_EXPIRY_SECONDS = 10


@hookimpl
def yumen_permissions() -> Iterable[Permission]:
    """Return the room's rights."""
    return permissions.ALL


@hookimpl
def yumen_blueprints() -> Iterable[Blueprint]:
    """Return the room's routes."""
    return [routes.blueprint]


@hookimpl
def yumen_config_sections() -> Iterable[Section]:
    """Return the section `tenants`."""
    return [documents.SECTION]


@hookimpl
def yumen_jobs() -> Iterable[Job]:
    """Return the job that stops tenants whose time is over."""
    return [Job("expire_tenants", every_seconds=_EXPIRY_SECONDS, run=service.run_expiry)]
