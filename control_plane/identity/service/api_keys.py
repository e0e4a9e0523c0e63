"""The verbs of API keys, and the text of a key: `ym_live_<id>_<secret><crc>`."""

import datetime
import secrets
import string
import uuid
import zlib
from collections.abc import Collection

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core import clock, pagination
from control_plane.core.database import keyring
from control_plane.core.errors import Invalid, NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.pagination import Page
from control_plane.identity.events import APIKeyCreated, APIKeyRevoked
from control_plane.identity.models.api_keys import KEY_PREFIX, APIKey, NewAPIKey

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PUBLIC_ID_LENGTH = 12
SECRET_LENGTH = 43
CHECKSUM_LENGTH = 6


def checksum(text: str) -> str:
    """Return the base62 CRC-32 of *text*, by which a mistyped key is refused without a look-up."""
    number = zlib.crc32(text.encode("ascii"))
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def generate_key(public_id: str) -> str:
    """Return the text of a new key."""
    body = f"{KEY_PREFIX}{public_id}_{_random(SECRET_LENGTH)}"
    return body + checksum(body)


def create_api_key(
    session: Session,
    tenant_id: uuid.UUID,
    *,
    name: str,
    expires_at: datetime.datetime | None = None,
) -> NewAPIKey:
    """Make an API key.

    Raises:
        NotFound: there is no such tenant.
        Invalid: it would have expired already.
    """
    tenant = tenants.get_tenant(session, tenant_id)
    if expires_at is not None and expires_at <= clock.now():
        raise Invalid.field("expiresAt", "Must be in the future.")
    public_id = _random(PUBLIC_ID_LENGTH)
    text = generate_key(public_id)
    key = APIKey(
        id=new_id(),
        tenant_id=tenant.id,
        name=name,
        public_id=public_id,
        digest=keyring(session).digest_key(text),
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    emit(session, APIKeyCreated(key_id=key.id, tenant_id=tenant.id, public_id=public_id))
    return NewAPIKey(key, text)


def list_api_keys(
    session: Session, tenant_id: uuid.UUID, *, page: int, page_size: int
) -> Page[APIKey]:
    """Return a tenant's keys that are not revoked, oldest first."""
    tenant = tenants.get_tenant(session, tenant_id)
    query = (
        select(APIKey)
        .where(APIKey.tenant_id == tenant.id, APIKey.revoked_at.is_(None))
        .order_by(APIKey.created_at, APIKey.id)
    )
    return pagination.page(session, query, page, page_size)


def revoke_api_key(session: Session, tenant_id: uuid.UUID, key_id: uuid.UUID) -> None:
    """End a key; its row stays, because usage refers to it.

    Raises:
        NotFound: the tenant has no such key, or it is revoked already.
    """
    tenant = tenants.get_tenant(session, tenant_id)
    key = session.scalar(
        select(APIKey).where(
            APIKey.id == key_id, APIKey.tenant_id == tenant.id, APIKey.revoked_at.is_(None)
        )
    )
    if key is None:
        raise NotFound("api_key")
    key.revoked_at = clock.now()
    session.flush()
    emit(session, APIKeyRevoked(key_id=key.id, tenant_id=tenant.id, public_id=key.public_id))


def delete_tenant_keys(session: Session, tenant_id: uuid.UUID) -> None:
    """Delete all keys of a tenant that is being deleted."""
    for key in session.scalars(select(APIKey).where(APIKey.tenant_id == tenant_id)):
        emit(session, APIKeyRevoked(key_id=key.id, tenant_id=tenant_id, public_id=key.public_id))
    session.execute(delete(APIKey).where(APIKey.tenant_id == tenant_id))


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def key_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of those of *ids* that are API keys, revoked ones too."""
    rows = session.execute(select(APIKey.id, APIKey.name).where(APIKey.id.in_(ids)))
    return {key_id: name for key_id, name in rows}  # noqa: C416 - a Row is no pair
