"""A tenant's issuers in a manifest."""

import uuid
from collections.abc import Iterable

from sqlalchemy.orm import Session

from control_plane.core import outgoing
from control_plane.core.database import settings
from control_plane.core.manifest import Kind, Values
from control_plane.issuers import service
from control_plane.issuers.models import Issuer
from control_plane.issuers.schemas import IssuerUpdateSchema


def _rows(session: Session, tenant_id: uuid.UUID) -> Iterable[Issuer]:
    return session.scalars(service.issuers_of(tenant_id))


def _create(session: Session, tenant_id: uuid.UUID, values: Values) -> Issuer:
    _refuse_private(session, values)
    return service.create_issuer(session, tenant_id, values)


def _update(session: Session, issuer: Issuer, values: Values) -> Issuer:
    _refuse_private(session, values)
    return service.update_issuer(session, issuer, values)


def _refuse_private(session: Session, values: Values) -> None:
    outgoing.refuse_private("issuer", values["issuer"], settings(session))
    if values["jwks_url"] is not None:
        outgoing.refuse_private("jwksUrl", values["jwks_url"], settings(session))


ISSUERS = Kind(
    section="issuers",
    schema=IssuerUpdateSchema,
    keys=("issuer",),
    rows=_rows,
    create=_create,
    update=_update,
    delete=service.delete_issuer,
    of_platform=False,
    of_tenant=True,
)
