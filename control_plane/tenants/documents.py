"""The sections `tenants`, to which ai_models adds `models`, and `profiles`."""

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.contract.documents import ProfileDocument, TenantDocument
from control_plane.core.pagination import keys_after
from control_plane.core.plugins import Document, Section
from control_plane.tenants import events
from control_plane.tenants.models import Tenant, TenantConfiguration


def compile_tenants(session: Session, ids: Collection[str] | None) -> dict[str, Document | None]:
    """Return the documents of the tenants *ids*, None for one that is gone.

    A gateway stops by itself at `expiresAt`; the status follows when the worker has looked.
    """
    query = select(Tenant.id, Tenant.status, Tenant.expiry_date)
    if ids is not None:
        query = query.where(Tenant.id.in_([uuid.UUID(each) for each in ids]))
    documents: dict[str, Document | None] = dict.fromkeys(ids or ())
    for tenant_id, status, expiry_date in session.execute(query):
        documents[str(tenant_id)] = {
            "status": status.value,
            "expiresAt": None if expiry_date is None else int(expiry_date.timestamp()),
            "models": {},
        }
    return documents


def compile_profiles(session: Session, ids: Collection[str] | None) -> dict[str, Document | None]:
    """Return what the front ends of the tenants *ids* are told, None where that is nothing."""
    columns = (
        TenantConfiguration.tenant_id,
        TenantConfiguration.feature_flags,
        TenantConfiguration.ui_theme,
    )
    query = select(*columns)
    if ids is not None:
        query = query.where(TenantConfiguration.tenant_id.in_([uuid.UUID(each) for each in ids]))
    documents: dict[str, Document | None] = dict.fromkeys(ids or ())
    for tenant_id, feature_flags, ui_theme in session.execute(query):
        if feature_flags or ui_theme:
            documents[str(tenant_id)] = {"featureFlags": feature_flags, "uiTheme": ui_theme}
    return documents


def _tenant_ids(session: Session, after: str | None, limit: int) -> list[str]:
    return keys_after(session, Tenant.id, after, limit)


def _tenant(payload: dict[str, Any]) -> Collection[str]:
    return [payload["tenant_id"]]


SECTIONS = (
    Section(
        name="tenants",
        schema=TenantDocument,
        compile=compile_tenants,
        ids=_tenant_ids,
        dirty={event.name: _tenant for event in events.ALL},
    ),
    Section(
        name="profiles",
        schema=ProfileDocument,
        compile=compile_profiles,
        ids=_tenant_ids,
        dirty={
            event.name: _tenant
            for event in (events.TenantCreated, events.TenantConfigured, events.TenantPurged)
        },
    ),
)
