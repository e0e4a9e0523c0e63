"""What the room identity adds to Yumen."""

import datetime
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core import api, pagination
from control_plane.core.api import Blueprint, Schema
from control_plane.core.auth import Actor, Permission
from control_plane.core.manifest import Kind
from control_plane.core.plugins import Job, Section, hookimpl
from control_plane.identity import documents, manifest, permissions, routes, tokens
from control_plane.identity.models import APIKey, CustomRole, User
from control_plane.identity.routes import pages, request
from control_plane.identity.schemas.api_keys import APIKeySchema
from control_plane.identity.schemas.permissions import RoleSchema
from control_plane.identity.schemas.users import UserSchema
from control_plane.identity.service import api_keys, mailed, passwords, roles, sessions, users
from control_plane.identity.service.throttle import Throttle

_FORGET_SECONDS = 3600
_MAIL_SECONDS = 1


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
    """Return the section `credentials`."""
    return [documents.SECTION]


@hookimpl
def yumen_manifest_kinds() -> Iterable[Kind]:
    """Return how roles stand in a manifest."""
    return [manifest.ROLES]


@hookimpl
def yumen_jobs() -> Iterable[Job]:
    """Return the jobs that forget sign-ins that are over, and mail those who forgot passwords."""
    return [
        Job(
            "forget_expired_tokens",
            every_seconds=_FORGET_SECONDS,
            run=sessions.forget_expired_tokens,
        ),
        Job("mail_tokens", every_seconds=_MAIL_SECONDS, run=mailed.answer_requests),
    ]


@hookimpl
def yumen_on_startup(app: flask.Flask) -> None:
    """Load the key that signs access tokens, count failed attempts, serve the page of mails."""
    app.register_blueprint(pages.blueprint)
    passwords.prepare()
    with app.app_context():
        app.extensions[request.EXTENSION] = Throttle(api.settings(), api.database().keyring)
        minutes = api.settings().security.access_token_minutes
        tokens.configure(app, api.database().keyring, datetime.timedelta(minutes=minutes))


@hookimpl
def yumen_purge_tenant(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete the tenant's keys, users and roles."""
    return (
        api_keys.delete_tenant_keys(session, tenant_id, limit)
        or users.delete_tenant_users(session, tenant_id, limit)
        or roles.delete_tenant_roles(session, tenant_id, limit)
    )


@hookimpl
def yumen_export_tenant(
    session: Session, tenant_id: uuid.UUID
) -> Iterator[tuple[str, Sequence[dict[str, Any]]]]:
    """Yield the tenant's roles, users and API keys, without what proves who somebody is."""
    kept: tuple[tuple[str, Any, type[Schema]], ...] = (
        ("role", CustomRole, RoleSchema),
        ("user", User, UserSchema),
        ("apiKey", APIKey, APIKeySchema),
    )
    for kind, entity, schema in kept:
        query = select(entity).where(entity.tenant_id == tenant_id)
        for rows in pagination.batches(session, query, entity.id):
            yield kind, schema(many=True).dump(rows)


@hookimpl
def yumen_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of API keys."""
    return api_keys.key_names(session, ids)


@hookimpl
def yumen_tenant_has(
    session: Session, tenant_id: uuid.UUID, kind: str, object_id: uuid.UUID
) -> bool:
    """Tell whether the tenant has this API key."""
    query = select(APIKey.id).where(APIKey.tenant_id == tenant_id, APIKey.id == object_id)
    return kind == "key" and session.scalar(query) is not None


@hookimpl
def yumen_authenticate(session: Session, authorization: str) -> Actor | None:
    """Return whose access token it is."""
    return tokens.authenticate(session, authorization)
