"""Limits in a manifest: those of the platform, and in each tenant its own."""

import uuid
from collections.abc import Iterable

from sqlalchemy.orm import Session

from control_plane.core.manifest import Kind, Values
from control_plane.limits import service
from control_plane.limits.models import Limit
from control_plane.limits.schemas import LimitUpdateSchema


def _rows(session: Session, tenant_id: uuid.UUID | None) -> Iterable[Limit]:
    return session.scalars(service.limits_of(tenant_id))


def _create(session: Session, tenant_id: uuid.UUID | None, values: Values) -> Limit:
    return service.create_limit(session, values, tenant_id=tenant_id)


LIMITS = Kind(
    section="limits",
    schema=LimitUpdateSchema,
    keys=("name",),
    rows=_rows,
    create=_create,
    update=service.update_limit,
    delete=service.delete_limit,
    of_tenant=True,
    references={"match.model": "models"},
)
