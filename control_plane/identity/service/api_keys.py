"""The verbs of API keys."""

import datetime
import uuid
from collections.abc import Collection, Mapping
from typing import Any, TypedDict, Unpack

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core import clock, pagination, rotation
from control_plane.core.database import keyring
from control_plane.core.errors import NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.moments import refuse_past
from control_plane.core.pagination import Page
from control_plane.core.rotation import NewSecret
from control_plane.core.schemas import Order
from control_plane.identity.events import (
    APIKeyChanged,
    APIKeyCreated,
    APIKeyEvent,
    APIKeyRevoked,
    APIKeyRotated,
)
from control_plane.identity.models import APIKey, APIKeySecret
from control_plane.identity.service.key_text import generate_key, new_public_id

USE_NOTED_EVERY = datetime.timedelta(minutes=1)
_IN_LIST = 1000


class Limits(TypedDict, total=False):
    """What a key is limited to; a list that is not there, or None, is no limit."""

    models: list[str] | None
    endpoints: list[str] | None
    methods: list[str] | None
    addresses: list[str] | None
    expires_at: datetime.datetime | None


def create_api_key(
    session: Session, tenant_id: uuid.UUID, *, name: str, **limits: Unpack[Limits]
) -> NewSecret[APIKey]:
    """Make an API key.

    Raises:
        NotFound: there is no such tenant.
        Invalid: it would have expired already.
    """
    tenant = tenants.get_tenant(session, tenant_id)
    refuse_past("expiresAt", limits.get("expires_at"))
    key = APIKey(id=new_id(), tenant_id=tenant.id, name=name, **limits)
    session.add(key)
    text = _add_secret(session, key)
    session.flush()
    emit(session, _told(key, APIKeyCreated))
    return NewSecret(key, text)


def get_api_key(session: Session, tenant_id: uuid.UUID, key_id: uuid.UUID) -> APIKey:
    """Return a tenant's key.

    Raises:
        NotFound: the tenant has no such key, or it is revoked.
    """
    tenant = tenants.get_tenant(session, tenant_id)
    key = session.scalar(
        select(APIKey).where(
            APIKey.id == key_id, APIKey.tenant_id == tenant.id, APIKey.revoked_at.is_(None)
        )
    )
    if key is None:
        raise NotFound("api_key")
    return key


def list_api_keys(
    session: Session, tenant_id: uuid.UUID, *, page: int, page_size: int, sort: Order = ()
) -> Page[APIKey]:
    """Return a tenant's keys that are not revoked, by *sort* or the oldest first."""
    tenant = tenants.get_tenant(session, tenant_id)
    query = (
        select(APIKey)
        .where(APIKey.tenant_id == tenant.id, APIKey.revoked_at.is_(None))
        .order_by(*pagination.ordering(APIKey, sort or [("created_at", False)]))
    )
    return pagination.page(session, query, page, page_size)


def update_api_key(session: Session, key: APIKey, values: Mapping[str, Any]) -> APIKey:
    """Change a key's name and limits; its secrets stay.

    Raises:
        Invalid: the new end is in the past.
    """
    if values.get("expires_at", key.expires_at) != key.expires_at:
        refuse_past("expiresAt", values["expires_at"])
    for name, value in values.items():
        setattr(key, name, value)
    session.flush()
    emit(session, _told(key, APIKeyChanged))
    return key


def rotate_api_key(session: Session, key: APIKey, grace: datetime.timedelta) -> NewSecret[APIKey]:
    """Give a key a second secret; the first one ends after *grace*.

    Raises:
        Conflict: two secrets are live already.
    """
    before = [secret.public_id for secret in key.secrets]
    rotation.begin(key, grace)
    text = _add_secret(session, key)
    session.flush()
    emit(session, _told(key, APIKeyRotated, before))
    return NewSecret(key, text)


def revoke_api_key(session: Session, key: APIKey) -> None:
    """End a key with all its secrets; its row stays, because usage refers to it."""
    key.revoked_at = clock.now()
    session.flush()
    emit(session, _told(key, APIKeyRevoked))


def delete_tenant_keys(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete up to *limit* keys of a tenant that is being purged; return how many."""
    query = select(APIKey).where(APIKey.tenant_id == tenant_id).limit(limit)
    keys = session.scalars(query).all()
    for key in keys:
        emit(session, _told(key, APIKeyRevoked))
    session.execute(delete(APIKey).where(APIKey.id.in_([key.id for key in keys])))
    return len(keys)


def key_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of those of *ids* that are API keys, revoked ones too."""
    rows = session.execute(select(APIKey.id, APIKey.name).where(APIKey.id.in_(ids)))
    return {key_id: name for key_id, name in rows}  # noqa: C416 - a Row is no pair


def note_key_use(session: Session, used: Mapping[uuid.UUID, datetime.datetime]) -> None:
    """Write down when keys were last used, of each at most once a minute.

    It is no change of the key: its version, and so its ETag, stays.
    """
    ids = sorted(used)
    for start in range(0, len(ids), _IN_LIST):
        part = ids[start : start + _IN_LIST]
        rows = session.execute(select(APIKey.id, APIKey.last_used_at).where(APIKey.id.in_(part)))
        known = {key_id: last for key_id, last in rows}  # noqa: C416 - a Row is no pair
        # Always in the order of ids, so that two of these wait for each other and never both.
        for key_id in part:
            if key_id in known and _is_due(known[key_id], used[key_id]):
                session.execute(
                    update(APIKey)
                    .where(
                        APIKey.id == key_id,
                        or_(APIKey.last_used_at.is_(None), APIKey.last_used_at < used[key_id]),
                    )
                    .values(last_used_at=used[key_id])
                    .execution_options(synchronize_session=False)
                )


def _is_due(noted: datetime.datetime | None, used: datetime.datetime) -> bool:
    return noted is None or used >= noted + USE_NOTED_EVERY


def _add_secret(session: Session, key: APIKey) -> str:
    public_id = new_public_id()
    text = generate_key(public_id)
    key.secrets.append(
        APIKeySecret(
            public_id=public_id,
            tenant_id=key.tenant_id,
            digest=keyring(session).digest_key(text),
            created_at=clock.now(),
        )
    )
    return text


def _told(key: APIKey, kind: type[APIKeyEvent], also: Collection[str] = ()) -> APIKeyEvent:
    """Return the event about *key* that names its secrets, and those that it had."""
    public_ids = {secret.public_id for secret in key.secrets}.union(also)
    return kind(key_id=key.id, tenant_id=key.tenant_id, public_ids=sorted(public_ids))
