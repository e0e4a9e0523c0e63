"""What the room issuers adds to Yumen."""

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
from control_plane.issuers import documents, fetching, manifest, permissions, routes, service
from control_plane.issuers.models import Issuer
from control_plane.issuers.schemas import IssuerSchema

_FETCH_SECONDS = 1


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
    """Return the section `issuers`."""
    return [documents.SECTION]


@hookimpl
def yumen_manifest_kinds() -> Iterable[Kind]:
    """Return how issuers stand in a manifest."""
    return [manifest.ISSUERS]


@hookimpl
def yumen_jobs() -> Iterable[Job]:
    """Return the job that fetches the issuers' keys."""
    return [Job("fetch_issuer_keys", every_seconds=_FETCH_SECONDS, run=fetching.run_fetching)]


@hookimpl
def yumen_purge_tenant(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete the tenant's issuers."""
    return service.delete_tenant_issuers(session, tenant_id, limit)


@hookimpl
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield the tenant's issuers."""
    for rows in pagination.batches(session, service.issuers_of(tenant_id), Issuer.id):
        yield "issuer", IssuerSchema(many=True).dump(rows)


@hookimpl
def yumen_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of issuers, which stand in usage where keys do."""
    return service.issuer_names(session, ids)


@hookimpl
def yumen_tenant_has(
    session: Session, tenant_id: uuid.UUID, kind: str, object_id: uuid.UUID
) -> bool:
    """Tell whether the tenant has this issuer, which stands in usage where keys do."""
    query = select(Issuer.id).where(Issuer.tenant_id == tenant_id, Issuer.id == object_id)
    return kind == "key" and session.scalar(query) is not None
