"""HTTP of the room domains."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session, settings
from control_plane.core.auth import current_actor
from control_plane.core.conditions import matched
from control_plane.core.dns import DnsError, Resolver
from control_plane.core.errors import Conflict, Forbidden
from control_plane.core.pagination import Page
from control_plane.domains import permissions, proofs, service
from control_plane.domains.models import Domain, Method
from control_plane.domains.schemas import (
    DomainCreateSchema,
    DomainQuerySchema,
    DomainSchema,
    DomainVerifySchema,
)

blueprint = Blueprint("domains", __name__, url_prefix="/tenants/<uuid:tenant_id>/domains")


@blueprint.route("")
class Domains(MethodView):
    """A tenant's domains."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, DomainSchema(many=True))
    @blueprint.paged(DomainQuerySchema)
    def get(self, tenant_id: uuid.UUID, **query: Any) -> Page[Domain]:
        """List a tenant's domains."""
        return service.list_domains(session(), tenant_id, **query)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(DomainCreateSchema)
    @blueprint.response(201, DomainSchema)
    def post(self, values: dict[str, Any], tenant_id: uuid.UUID) -> Domain:
        """Claim a domain for a tenant."""
        return service.add_domain(session(), tenant_id, **values)


@blueprint.route("/<uuid:domain_id>")
class DomainById(MethodView):
    """One domain of a tenant."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, DomainSchema)
    def get(self, tenant_id: uuid.UUID, domain_id: uuid.UUID) -> Domain:
        """Show a domain and the record that proves it."""
        return service.get_domain(session(), tenant_id, domain_id)

    @blueprint.require(permissions.WRITE)
    @blueprint.response(204)
    def delete(self, tenant_id: uuid.UUID, domain_id: uuid.UUID) -> None:
        """Give a domain up; it stops routing."""
        domain = matched(service.get_domain(session(), tenant_id, domain_id))
        service.remove_domain(session(), domain)


@blueprint.route("/<uuid:domain_id>/primary")
class PrimaryDomain(MethodView):
    """Which domain is the primary one."""

    @blueprint.require(permissions.WRITE)
    @blueprint.response(200, DomainSchema)
    def post(self, tenant_id: uuid.UUID, domain_id: uuid.UUID) -> Domain:
        """Make a domain its tenant's primary one."""
        return service.make_primary(session(), service.get_domain(session(), tenant_id, domain_id))


@blueprint.route("/<uuid:domain_id>/verify")
class DomainVerification(MethodView):
    """Proof that a domain is the tenant's."""

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(DomainVerifySchema)
    @blueprint.response(200, DomainSchema)
    def post(self, values: dict[str, Any], tenant_id: uuid.UUID, domain_id: uuid.UUID) -> Domain:
        """Verify a domain by its DNS record, or by hand; it routes from then on."""
        domain = service.get_domain(session(), tenant_id, domain_id)
        method = Method(values["method"])
        if method is Method.MANUAL:
            if not current_actor().may(permissions.APPROVE):
                raise Forbidden(f"This needs the permission {permissions.APPROVE.name}.")
        elif not domain.is_verified:
            _prove(domain)
        return service.verify_domain(session(), domain, method)


def _prove(domain: Domain) -> None:
    record = domain.verification_record
    # On SQLite a request that may write holds the database's only lock: not while the DNS is asked.
    session().rollback()
    try:
        if proofs.is_proved(Resolver(settings().dns.servers), record):
            return
        detail = "The TXT record that `verificationRecord` shows is not there yet."
    except DnsError:
        detail = f"No DNS server answers what TXT records {record['name']} has: try again later."
    raise Conflict("domain_not_proved", detail)
