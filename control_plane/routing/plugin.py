"""What the room routing adds to Yumen."""

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core import pagination
from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.manifest import Kind
from control_plane.core.plugins import Section, Service, hookimpl
from control_plane.routing import documents, manifest, permissions
from control_plane.routing import routes as http
from control_plane.routing.models import Route, Upstream
from control_plane.routing.schemas.routes import RouteSchema
from control_plane.routing.schemas.upstreams import UpstreamSchema
from control_plane.routing.service import routes, upstreams


@hookimpl
def yumen_permissions() -> Iterable[Permission]:
    """Return the room's rights."""
    return permissions.ALL


@hookimpl
def yumen_blueprints() -> Iterable[Blueprint]:
    """Return the room's routes."""
    return http.BLUEPRINTS


@hookimpl
def yumen_config_sections() -> Iterable[Section]:
    """Return the sections `routes` and `upstreams`."""
    return [documents.ROUTES, documents.UPSTREAMS]


@hookimpl
def yumen_manifest_kinds() -> Iterable[Kind]:
    """Return how upstreams, and the routes that name them, stand in a manifest."""
    return [manifest.UPSTREAMS, manifest.ROUTES]


@hookimpl
def yumen_purge_tenant(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete the tenant's routes, and then the upstreams that they led to."""
    deleted = routes.delete_tenant_routes(session, tenant_id, limit)
    return deleted or upstreams.delete_tenant_upstreams(session, tenant_id, limit)


@hookimpl
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield the tenant's upstreams and routes."""
    for found in pagination.batches(session, upstreams.upstreams_of(tenant_id), Upstream.id):
        yield "upstream", UpstreamSchema(many=True).dump(found)
    for rows in pagination.batches(session, routes.routes_of(tenant_id), Route.id):
        yield "route", RouteSchema(many=True).dump(rows)


@hookimpl
def yumen_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of upstreams and routes."""
    return upstreams.upstream_names(session, ids) | routes.route_names(session, ids)


@hookimpl
def yumen_tenant_has(
    session: Session, tenant_id: uuid.UUID, kind: str, object_id: uuid.UUID
) -> bool:
    """Tell whether the tenant has this route, or this upstream of its own."""
    entities: dict[str, type[Route | Upstream]] = {"route": Route, "upstream": Upstream}
    entity = entities.get(kind)
    if entity is None:
        return False
    query = select(entity.id).where(entity.tenant_id == tenant_id, entity.id == object_id)
    return session.scalar(query) is not None


@hookimpl
def yumen_known_services(session: Session, tenant_id: uuid.UUID | None) -> Iterable[Service]:
    """Return the upstreams."""
    return upstreams.known_services(session, tenant_id)


@hookimpl
def yumen_services(session: Session, tenant_id: uuid.UUID | None, name: str) -> Collection[str]:
    """Return the keys of the upstreams that *name* names."""
    return upstreams.service_keys(session, tenant_id, name)
