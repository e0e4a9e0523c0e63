"""What the room identity adds to Yumen."""

import datetime
import uuid
from collections.abc import Collection, Iterable

import flask
from sqlalchemy.orm import Session

from control_plane.core import api
from control_plane.core.api import Blueprint
from control_plane.core.auth import Actor, Permission
from control_plane.core.plugins import Job, Section, hookimpl
from control_plane.identity import documents, permissions, routes, tokens
from control_plane.identity.service import api_keys, sessions, users

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
def yumen_config_sections() -> Iterable[Section]:
    """Return the section `credentials`."""
    return [documents.SECTION]


@hookimpl
def yumen_jobs() -> Iterable[Job]:
    """Return the job that forgets sign-ins that are over."""
    return [
        Job(
            "forget_expired_tokens",
            every_seconds=_FORGET_SECONDS,
            run=sessions.forget_expired_tokens,
        )
    ]


@hookimpl
def yumen_on_startup(app: flask.Flask) -> None:
    """Load the key that signs access tokens."""
    with app.app_context():
        minutes = api.settings().security.access_token_minutes
        tokens.configure(app, api.database().keyring, datetime.timedelta(minutes=minutes))


@hookimpl
def yumen_on_tenant_deleted(session: Session, tenant_id: uuid.UUID) -> None:
    """Delete the tenant's users and keys."""
    api_keys.delete_tenant_keys(session, tenant_id)
    users.delete_tenant_users(session, tenant_id)


@hookimpl
def yumen_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of API keys."""
    return api_keys.key_names(session, ids)


@hookimpl
def yumen_authenticate(session: Session, authorization: str) -> Actor | None:
    """Return whose access token it is."""
    return tokens.authenticate(session, authorization)
