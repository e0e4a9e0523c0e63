"""What the room ai_models adds to Yumen."""

import uuid
from collections.abc import Collection, Iterable

from sqlalchemy.orm import Session

from control_plane.ai_models import documents, permissions, routes, service
from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.plugins import Section, SectionPart, hookimpl


@hookimpl
def yumen_permissions() -> Iterable[Permission]:
    """Return the room's rights."""
    return permissions.ALL


@hookimpl
def yumen_blueprints() -> Iterable[Blueprint]:
    """Return the room's routes."""
    return routes.BLUEPRINTS


@hookimpl
def yumen_config_sections() -> Iterable[Section]:
    """Return the section `models`."""
    return [documents.SECTION]


@hookimpl
def yumen_section_parts() -> Iterable[SectionPart]:
    """Return what each tenant's document says of its models."""
    return [documents.TENANTS_PART]


@hookimpl
def yumen_on_tenant_deleted(session: Session, tenant_id: uuid.UUID) -> None:
    """Delete the tenant's configurations."""
    service.delete_tenant_models(session, tenant_id)


@hookimpl
def yumen_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of AI models."""
    return service.model_names(session, ids)
