"""Roles in a manifest: those of the platform, and in each tenant its own."""

import uuid
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core.manifest import Kind, Values
from control_plane.identity.models import CustomRole
from control_plane.identity.schemas.permissions import RoleUpdateSchema
from control_plane.identity.service import roles


def _rows(session: Session, tenant_id: uuid.UUID | None) -> Iterable[CustomRole]:
    query = select(CustomRole).order_by(CustomRole.id)
    return session.scalars(query.where(CustomRole.tenant_id == tenant_id))


def _create(session: Session, tenant_id: uuid.UUID | None, values: Values) -> CustomRole:
    return roles.create_role(session, tenant_id=tenant_id, **values)


def _update(session: Session, role: CustomRole, values: Values) -> CustomRole:
    return roles.update_role(session, role, **values)


ROLES = Kind(
    section="roles",
    schema=RoleUpdateSchema,
    keys=("name",),
    rows=_rows,
    create=_create,
    update=_update,
    delete=roles.delete_role,
    of_tenant=True,
)
