"""Tenants in a manifest."""

import uuid
from collections.abc import Iterable

from marshmallow import fields, validate
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from control_plane.core.database import settings
from control_plane.core.errors import Conflict, Invalid
from control_plane.core.manifest import Kind, Values
from control_plane.tenants.models import Isolation, Tenant
from control_plane.tenants.schemas import ConfigurationUpdateSchema, TenantUpdateSchema
from control_plane.tenants.service import configurations, lifecycle, tenants


class TenantManifestSchema(TenantUpdateSchema):
    """A tenant; without an `id` its name tells which one it is."""

    id = fields.UUID()
    isolation = fields.Enum(Isolation, by_value=True)
    is_suspended = fields.Boolean(load_default=False)
    suspension_reason = fields.String(
        allow_none=True, load_default=None, validate=validate.Length(1, 500)
    )
    configurations = fields.Nested(
        ConfigurationUpdateSchema, load_default=lambda: ConfigurationUpdateSchema().load({})
    )


def _rows(session: Session, _: uuid.UUID | None) -> Iterable[Tenant]:
    # A deleted tenant is on its way out: whoever wants it back activates it.
    query = select(Tenant).where(Tenant.purge_date.is_(None)).order_by(Tenant.id)
    return session.scalars(query.options(selectinload(Tenant.configurations)))


def _create(session: Session, _: uuid.UUID | None, values: Values) -> Tenant:
    if "id" in values and session.get(Tenant, values["id"]) is not None:
        raise Conflict("tenant_deleted", "The tenant is deleted; activate it to undo that.")
    # One that is over already is taken over as it is; the worker ends it.
    own = {name: values[name] for name in values if name not in _NOT_COLUMNS}
    tenant = tenants.create_tenant(session, **{**own, "expiry_date": None})
    return _update(session, tenant, values)


def _update(session: Session, tenant: Tenant, values: Values) -> Tenant:
    if values.get("isolation", tenant.isolation) is not tenant.isolation:
        raise Invalid.field("isolation", "Is changed by `yumen tenant move` only.")
    own = {name: values[name] for name in values if name not in _NOT_COLUMNS}
    tenants.update_tenant(session, tenant, own)
    try:
        configurations.update_configuration(
            session, tenant.configurations, values["configurations"]
        )
    except Invalid as error:
        raise error.below("configurations") from error
    if values["is_suspended"]:
        lifecycle.suspend_tenant(session, tenant.id, reason=values["suspension_reason"])
    elif values["suspension_reason"] is not None:
        raise Invalid.field("suspensionReason", "Is for a tenant with `isSuspended: true`.")
    elif tenant.is_suspended:
        lifecycle.activate_tenant(session, tenant.id)
    return tenant


def _delete(session: Session, tenant: Tenant) -> None:
    grace_days = settings(session).tenants.purge_grace_days
    lifecycle.delete_tenant(session, tenant, grace_days=grace_days)


_NOT_COLUMNS = frozenset({"configurations", "is_suspended", "suspension_reason"})

TENANTS = Kind(
    section="tenants",
    schema=TenantManifestSchema,
    keys=("id", "name"),
    rows=_rows,
    create=_create,
    update=_update,
    delete=_delete,
    references={"configurations.aiModelAccess": "models"},
)
