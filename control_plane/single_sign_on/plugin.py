"""What the room single_sign_on adds to Yumen."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import flask
from sqlalchemy.orm import Session

from control_plane.core import api, pagination
from control_plane.core.api import Blueprint
from control_plane.core.auth import Permission
from control_plane.core.manifest import Kind
from control_plane.core.plugins import Job, hookimpl
from control_plane.single_sign_on import manifest, permissions, routes
from control_plane.single_sign_on.models import IdentityProvider
from control_plane.single_sign_on.routes import sign_in
from control_plane.single_sign_on.schemas import IdentityProviderSchema
from control_plane.single_sign_on.service import arrivals, providers
from control_plane.single_sign_on.service.conversation import Conversation

_FORGET_SECONDS = 3600


@hookimpl
def yumen_permissions() -> Iterable[Permission]:
    """Return the room's rights."""
    return permissions.ALL


@hookimpl
def yumen_blueprints() -> Iterable[Blueprint]:
    """Return the room's routes."""
    return routes.BLUEPRINTS


@hookimpl
def yumen_jobs() -> Iterable[Job]:
    """Return the job that forgets codes which nobody came for."""
    return [
        Job("forget_sign_in_codes", every_seconds=_FORGET_SECONDS, run=arrivals.forget_codes),
    ]


@hookimpl
def yumen_manifest_kinds() -> Iterable[Kind]:
    """Return identity providers."""
    return [manifest.PROVIDERS]


@hookimpl
def yumen_on_startup(app: flask.Flask) -> None:
    """Prepare to talk with identity providers."""
    with app.app_context():
        app.extensions[sign_in.EXTENSION] = Conversation(api.settings())


@hookimpl
def yumen_purge_tenant(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete the tenant's identity providers."""
    return providers.delete_tenant_providers(session, tenant_id, limit)


@hookimpl
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield the tenant's identity providers, without their secrets."""
    query = providers.providers_of(tenant_id)
    schema = IdentityProviderSchema(many=True, exclude=("redirect_uri",))
    for rows in pagination.batches(session, query, IdentityProvider.id):
        yield "identityProvider", schema.dump(rows)
