"""What the room service_clients adds to Yumen."""

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy.orm import Session

from control_plane.core import pagination
from control_plane.core.api import Blueprint
from control_plane.core.auth import Actor, Permission
from control_plane.core.plugins import hookimpl
from control_plane.service_clients import permissions, routes, service, tokens
from control_plane.service_clients.models import ServiceClient
from control_plane.service_clients.schemas import ServiceClientSchema


@hookimpl
def yumen_permissions() -> Iterable[Permission]:
    """Return the room's rights."""
    return permissions.ALL


@hookimpl
def yumen_blueprints() -> Iterable[Blueprint]:
    """Return the room's routes."""
    return routes.BLUEPRINTS


@hookimpl
def yumen_purge_tenant(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete the tenant's service clients."""
    return service.delete_tenant_clients(session, tenant_id, limit)


@hookimpl
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield the tenant's service clients, without their secrets."""
    for rows in pagination.batches(session, service.clients_of(tenant_id), ServiceClient.id):
        yield "serviceClient", ServiceClientSchema(many=True).dump(rows)


@hookimpl
def yumen_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of service clients."""
    return service.client_names(session, ids)


@hookimpl(tryfirst=True)
def yumen_authenticate(session: Session, authorization: str) -> Actor | None:
    """Return which service client's access token it is; tokens of users are left to identity."""
    return tokens.authenticate(session, authorization)
