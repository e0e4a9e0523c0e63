"""What the room ai_models adds to Yumen."""

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy.orm import Session

from control_plane.ai_models import documents, manifest, permissions, routes, service
from control_plane.ai_models.models import AIModel, TenantModelConfig
from control_plane.ai_models.schemas import TenantModelSchema
from control_plane.core import pagination
from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.manifest import Kind
from control_plane.core.plugins import Section, SectionPart, Service, hookimpl


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
def yumen_manifest_kinds() -> Iterable[Kind]:
    """Return how models, and those of a tenant, stand in a manifest."""
    return [manifest.MODELS, manifest.TENANT_MODELS]


@hookimpl
def yumen_purge_tenant(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Take the tenant's models away."""
    return service.delete_tenant_models(session, tenant_id, limit)


@hookimpl
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield how the tenant calls models."""
    configs = service.tenant_models_of(tenant_id)
    for rows in pagination.batches(session, configs, TenantModelConfig.id):
        yield "model", TenantModelSchema(many=True).dump(service.with_models(session, rows))


@hookimpl
def yumen_unknown_models(session: Session, ids: Collection[uuid.UUID]) -> Collection[uuid.UUID]:
    """Return those of *ids* that are not the id of an AI model."""
    return set(ids) - service.model_names(session, ids).keys()


@hookimpl
def yumen_services(session: Session, tenant_id: uuid.UUID | None, name: str) -> Collection[str]:
    """Return the key of the AI model that *name* names, if there is one."""
    return service.service_keys(session, tenant_id, name)


@hookimpl
def yumen_known_services(session: Session, tenant_id: uuid.UUID | None) -> Iterable[Service]:
    """Return the active AI models."""
    models = session.scalars(service.models_of(session, tenant_id).where(AIModel.is_active))
    return [Service(f"model:{model.id}", model.name, None) for model in models]


@hookimpl
def yumen_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of AI models."""
    return service.model_names(session, ids)
