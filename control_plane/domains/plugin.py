"""What the room domains adds to Yumen."""

import uuid
from collections.abc import Iterable

from sqlalchemy.orm import Session

from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.plugins import Section, hookimpl
from control_plane.domains import documents, permissions, routes, service


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
    """Return the section `hosts`."""
    return [documents.SECTION]


@hookimpl
def yumen_on_tenant_deleted(session: Session, tenant_id: uuid.UUID) -> None:
    """Give the tenant's names up."""
    service.remove_domains(session, tenant_id)
