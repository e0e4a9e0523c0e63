"""The section `tenants`: may this tenant be served. The room ai_models adds `models`."""

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.contract.documents import TenantDocument
from control_plane.core.plugins import Document, Section
from control_plane.tenants import events
from control_plane.tenants.models import Tenant


def compile_tenants(session: Session, ids: Collection[str] | None) -> dict[str, Document | None]:
    """Return the documents of the tenants *ids*, None for one that is gone."""
    query = select(Tenant.id, Tenant.status)
    if ids is not None:
        query = query.where(Tenant.id.in_([uuid.UUID(each) for each in ids]))
    documents: dict[str, Document | None] = dict.fromkeys(ids or ())
    for tenant_id, status in session.execute(query):
        documents[str(tenant_id)] = {"status": status.value, "models": {}}
    return documents


def _tenant(payload: dict[str, Any]) -> Collection[str]:
    return [payload["tenant_id"]]


SECTION = Section(
    name="tenants",
    schema=TenantDocument,
    compile=compile_tenants,
    dirty={event.name: _tenant for event in events.ALL},
)
