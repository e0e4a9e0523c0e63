"""The section `credentials`: the API keys that may be used, by their public ids."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.contract.documents import CredentialDocument
from control_plane.core.plugins import Document, Section
from control_plane.identity.events import APIKeyCreated, APIKeyRevoked
from control_plane.identity.models import APIKey


def compile_credentials(
    session: Session, ids: Collection[str] | None
) -> dict[str, Document | None]:
    """Return the documents of the keys with the public *ids*, None for one that is revoked."""
    query = select(APIKey).where(APIKey.revoked_at.is_(None))
    if ids is not None:
        query = query.where(APIKey.public_id.in_(ids))
    documents: dict[str, Document | None] = dict.fromkeys(ids or ())
    for key in session.scalars(query):
        documents[key.public_id] = {
            "tenant": str(key.tenant_id),
            "key": str(key.id),
            "digest": key.digest,
            "expiresAt": None if key.expires_at is None else int(key.expires_at.timestamp()),
        }
    return documents


def _key(payload: dict[str, Any]) -> Collection[str]:
    return [payload["public_id"]]


SECTION = Section(
    name="credentials",
    schema=CredentialDocument,
    compile=compile_credentials,
    dirty={APIKeyCreated.name: _key, APIKeyRevoked.name: _key},
)
