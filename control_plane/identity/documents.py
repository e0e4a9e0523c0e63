"""The section `credentials`: the secrets of API keys that may be used, by their public ids."""

import datetime
from collections.abc import Collection
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.contract.documents import CredentialDocument
from control_plane.core.pagination import keys_after
from control_plane.core.plugins import Document, Section
from control_plane.identity.events import (
    APIKeyChanged,
    APIKeyCreated,
    APIKeyRevoked,
    APIKeyRotated,
)
from control_plane.identity.models import APIKey, APIKeySecret


def compile_credentials(
    session: Session, ids: Collection[str] | None
) -> dict[str, Document | None]:
    """Return the documents of the secrets with the public *ids*, None for one of a revoked key."""
    query = (
        select(
            APIKeySecret.public_id,
            APIKeySecret.digest,
            APIKeySecret.expires_at.label("grace_ends_at"),
            APIKey.id,
            APIKey.tenant_id,
            APIKey.expires_at,
            APIKey.models,
            APIKey.endpoints,
            APIKey.methods,
            APIKey.addresses,
        )
        .join(APIKey, APIKeySecret.key_id == APIKey.id)
        .where(APIKey.revoked_at.is_(None))
    )
    if ids is not None:
        query = query.where(APIKeySecret.public_id.in_(ids))
    documents: dict[str, Document | None] = dict.fromkeys(ids or ())
    for row in session.execute(query):
        documents[row.public_id] = {
            "tenant": str(row.tenant_id),
            "key": str(row.id),
            "digest": row.digest,
            "expiresAt": _first(row.grace_ends_at, row.expires_at),
            **_limits(row),
        }
    return documents


def _limits(row: Any) -> Document:
    """Return what the key is limited to. Gateways hold a million keys: no limit takes no room."""
    limits = {name: getattr(row, name) for name in ("models", "endpoints", "methods", "addresses")}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _first(*ends: datetime.datetime | None) -> int | None:
    """Return the second of the first of *ends* that there is."""
    return min((int(end.timestamp()) for end in ends if end is not None), default=None)


def _secrets(payload: dict[str, Any]) -> Collection[str]:
    # Events from before keys had several secrets name the only one.
    public_ids: list[str] = payload.get("public_ids") or [payload["public_id"]]
    return public_ids


SECTION = Section(
    name="credentials",
    schema=CredentialDocument,
    compile=compile_credentials,
    ids=lambda session, after, limit: keys_after(session, APIKeySecret.public_id, after, limit),
    dirty={
        event.name: _secrets
        for event in (APIKeyCreated, APIKeyChanged, APIKeyRotated, APIKeyRevoked)
    },
)
