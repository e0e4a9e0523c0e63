"""What the room limits adds to Yumen."""

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core import pagination
from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.manifest import Kind
from control_plane.core.plugins import Job, Section, hookimpl
from control_plane.limits import documents, manifest, permissions, routes, seeding, service
from control_plane.limits.models import Limit
from control_plane.limits.schemas import LimitSchema

_SEED_SECONDS = 1


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
    """Return the section `limits`."""
    return [documents.SECTION]


@hookimpl
def yumen_manifest_kinds() -> Iterable[Kind]:
    """Return how limits stand in a manifest."""
    return [manifest.LIMITS]


@hookimpl
def yumen_jobs() -> Iterable[Job]:
    """Return the job that tells Redis what was used of counters that it lost."""
    return [Job("rebuild_counters", every_seconds=_SEED_SECONDS, run=seeding.Seeder().run)]


@hookimpl
def yumen_purge_tenant(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete the tenant's limits."""
    return service.delete_tenant_limits(session, tenant_id, limit)


@hookimpl
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield the tenant's limits."""
    for rows in pagination.batches(session, service.limits_of(tenant_id), Limit.id):
        yield "limit", LimitSchema(many=True).dump(rows)


@hookimpl
def yumen_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of limits."""
    rows = session.execute(select(Limit.id, Limit.name).where(Limit.id.in_(ids)))
    return {limit_id: name for limit_id, name in rows}  # noqa: C416 - a Row is no pair
