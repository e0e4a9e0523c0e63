"""What the room resilience adds to Yumen."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy.orm import Session

from control_plane.core import pagination
from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.manifest import Kind
from control_plane.core.plugins import Section, hookimpl
from control_plane.resilience import documents, manifest, permissions, routes, service
from control_plane.resilience.models import CircuitBreaker
from control_plane.resilience.schemas import CircuitBreakerSchema


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
    """Return the section `breakers`."""
    return [documents.BREAKERS]


@hookimpl
def yumen_manifest_kinds() -> Iterable[Kind]:
    """Return how circuit breakers stand in a manifest."""
    return [manifest.BREAKERS]


@hookimpl
def yumen_purge_tenant(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete the tenant's circuit breakers."""
    return service.delete_tenant_breakers(session, tenant_id, limit)


@hookimpl
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield the tenant's circuit breakers."""
    for found in pagination.batches(session, service.breakers_of(tenant_id), CircuitBreaker.id):
        yield "circuitBreaker", CircuitBreakerSchema(many=True).dump(service.named(session, found))
