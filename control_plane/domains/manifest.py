"""A tenant's domains in a manifest."""

import uuid
from collections.abc import Iterable

from marshmallow import fields, validate
from sqlalchemy.orm import Session

from control_plane.core.errors import Invalid
from control_plane.core.manifest import Kind, Values
from control_plane.core.schemas import Schema
from control_plane.domains import names, service
from control_plane.domains.models import Domain, Method
from control_plane.domains.schemas import DomainName


class DomainManifestSchema(Schema):
    """A domain; what is left out stays as it is."""

    resource = "domain"
    domain_name = DomainName(required=True, validate=validate.Length(max=names.MAX_LENGTH))
    is_primary = fields.Boolean()
    is_verified = fields.Boolean()


def _rows(session: Session, tenant_id: uuid.UUID) -> Iterable[Domain]:
    return session.scalars(service.domains_of(tenant_id))


def _create(session: Session, tenant_id: uuid.UUID, values: Values) -> Domain:
    name, is_primary = values["domain_name"], values.get("is_primary")
    domain = service.add_domain(session, tenant_id, domain_name=name, is_primary=is_primary)
    return _update(session, domain, values)


def _update(session: Session, domain: Domain, values: Values) -> Domain:
    wanted = {"is_primary": domain.is_primary, "is_verified": domain.is_verified, **values}
    if domain.is_verified and not wanted["is_verified"]:
        raise Invalid.field("isVerified", "A verified domain stays verified until it is deleted.")
    if wanted["is_verified"]:
        service.verify_domain(session, domain, Method.MANUAL)
    if wanted["is_primary"]:
        service.make_primary(session, domain)
    elif domain.is_primary:
        domain.is_primary = False
        session.flush()
    return domain


DOMAINS = Kind(
    section="domains",
    schema=DomainManifestSchema,
    keys=("domainName",),
    rows=_rows,
    create=_create,
    update=_update,
    delete=service.remove_domain,
    of_platform=False,
    of_tenant=True,
)
