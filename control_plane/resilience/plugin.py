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
from control_plane.resilience import documents, manifest, permissions, routes
from control_plane.resilience.models import CircuitBreaker, DegradationRule
from control_plane.resilience.schemas.breakers import CircuitBreakerSchema
from control_plane.resilience.schemas.degradations import DegradationRuleSchema
from control_plane.resilience.service import breakers, degradations, rules


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
    """Return the sections `breakers` and `degradations`."""
    return documents.SECTIONS


@hookimpl
def yumen_manifest_kinds() -> Iterable[Kind]:
    """Return how circuit breakers and degradation rules stand in a manifest."""
    return manifest.KINDS


@hookimpl
def yumen_purge_tenant(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete the tenant's circuit breakers and degradation rules."""
    deleted = breakers.delete_tenant_breakers(session, tenant_id, limit)
    return deleted + degradations.delete_tenant_degradations(session, tenant_id, limit - deleted)


@hookimpl
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield the tenant's circuit breakers and degradation rules."""
    query = rules.rules_of(CircuitBreaker, tenant_id)
    for found in pagination.batches(session, query, CircuitBreaker.id):
        yield "circuitBreaker", CircuitBreakerSchema(many=True).dump(rules.named(session, found))
    of_rules = rules.rules_of(DegradationRule, tenant_id)
    for rows in pagination.batches(session, of_rules, DegradationRule.id):
        yield "degradationRule", DegradationRuleSchema(many=True).dump(rules.named(session, rows))
