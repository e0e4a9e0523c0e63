"""The section `issuers` of the configuration: whose tokens are taken at a tenant's domains."""

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.contract.documents import IssuersDocument
from control_plane.core.plugins import Document, Section
from control_plane.issuers.events import IssuersChanged
from control_plane.issuers.models import Issuer


def compile_issuers(session: Session, ids: Collection[str] | None) -> dict[str, Document | None]:
    """Return the documents of the tenants *ids*, None for one that has no issuer with keys."""
    query = select(Issuer).where(Issuer.is_active.is_(True)).order_by(Issuer.id)
    if ids is not None:
        query = query.where(Issuer.tenant_id.in_([uuid.UUID(each) for each in ids]))
    found: dict[str, list[Document]] = {}
    for issuer in session.scalars(query):
        if issuer.key_set.keys:
            found.setdefault(str(issuer.tenant_id), []).append(_document(issuer))
    documents: dict[str, Document | None] = dict.fromkeys(ids or ())
    documents |= {tenant_id: {"issuers": issuers} for tenant_id, issuers in found.items()}
    return documents


def _document(issuer: Issuer) -> Document:
    return {
        "id": str(issuer.id),
        "issuer": issuer.issuer,
        "audiences": issuer.audiences,
        "algorithms": issuer.algorithms,
        "userClaim": issuer.user_claim,
        "leeway": issuer.clock_leeway,
        "keys": issuer.key_set.keys,
    }


def _ids(session: Session, after: str | None, limit: int) -> list[str]:
    query = select(Issuer.tenant_id).distinct().order_by(Issuer.tenant_id).limit(limit)
    if after is not None:
        query = query.where(Issuer.tenant_id > uuid.UUID(after))
    return [str(tenant_id) for tenant_id in session.scalars(query)]


def _tenant(payload: dict[str, Any]) -> Collection[str]:
    return [payload["tenant_id"]]


SECTION = Section(
    name="issuers",
    schema=IssuersDocument,
    compile=compile_issuers,
    ids=_ids,
    dirty={IssuersChanged.name: _tenant},
)
