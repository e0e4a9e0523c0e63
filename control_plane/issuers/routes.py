"""HTTP of the room issuers."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, refuse_private, session
from control_plane.core.conditions import matched
from control_plane.core.merge_patch import merged
from control_plane.core.pagination import Page
from control_plane.issuers import permissions, service
from control_plane.issuers.models import Issuer
from control_plane.issuers.schemas import IssuerQuerySchema, IssuerSchema, IssuerUpdateSchema

blueprint = Blueprint("issuers", __name__, url_prefix="/tenants/<uuid:tenant_id>/issuers")


@blueprint.route("")
class Issuers(MethodView):
    """Whose tokens are taken at a tenant's domains."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, IssuerSchema(many=True))
    @blueprint.paged(IssuerQuerySchema)
    def get(self, tenant_id: uuid.UUID, **query: Any) -> Page[Issuer]:
        """List a tenant's issuers."""
        return service.list_issuers(session(), tenant_id, **query)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(IssuerUpdateSchema)
    @blueprint.response(201, IssuerSchema)
    def post(self, values: dict[str, Any], tenant_id: uuid.UUID) -> Issuer:
        """Take an issuer's tokens, as soon as its keys are fetched."""
        _refuse_private(values)
        return service.create_issuer(session(), tenant_id, values)


@blueprint.route("/<uuid:issuer_id>")
class IssuerById(MethodView):
    """One issuer."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, IssuerSchema)
    def get(self, tenant_id: uuid.UUID, issuer_id: uuid.UUID) -> Issuer:
        """Show an issuer, and whether its keys could be fetched."""
        return service.get_issuer(session(), tenant_id, issuer_id)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(IssuerUpdateSchema)
    @blueprint.response(200, IssuerSchema)
    def put(self, values: dict[str, Any], tenant_id: uuid.UUID, issuer_id: uuid.UUID) -> Issuer:
        """Change an issuer."""
        _refuse_private(values)
        issuer = matched(service.get_issuer(session(), tenant_id, issuer_id))
        return service.update_issuer(session(), issuer, values)

    @blueprint.require(permissions.WRITE)
    @blueprint.merge_patch(IssuerUpdateSchema)
    @blueprint.response(200, IssuerSchema)
    def patch(self, patch: dict[str, Any], tenant_id: uuid.UUID, issuer_id: uuid.UUID) -> Issuer:
        """Change some fields of an issuer."""
        issuer = matched(service.get_issuer(session(), tenant_id, issuer_id))
        values = merged(IssuerUpdateSchema, issuer, patch)
        _refuse_private(values)
        # That ended the transaction: somebody may have changed the issuer since.
        issuer = matched(service.get_issuer(session(), tenant_id, issuer_id))
        return service.update_issuer(session(), issuer, values)

    @blueprint.require(permissions.WRITE)
    @blueprint.response(204)
    def delete(self, tenant_id: uuid.UUID, issuer_id: uuid.UUID) -> None:
        """Take no tokens of an issuer any more."""
        service.delete_issuer(
            session(), matched(service.get_issuer(session(), tenant_id, issuer_id))
        )


@blueprint.route("/<uuid:issuer_id>/refresh")
class IssuerKeysRefresh(MethodView):
    """The keys of an issuer."""

    @blueprint.require(permissions.WRITE)
    @blueprint.response(200, IssuerSchema)
    def post(self, tenant_id: uuid.UUID, issuer_id: uuid.UUID) -> Issuer:
        """Have an issuer's keys fetched now; `keysFetchedAt` tells when they were."""
        issuer = service.get_issuer(session(), tenant_id, issuer_id)
        service.fetch_soon(issuer)
        return issuer


def _refuse_private(values: dict[str, Any]) -> None:
    for name, pointer in (("issuer", "issuer"), ("jwks_url", "jwksUrl")):
        if values.get(name) is not None:
            refuse_private(pointer, values[name])
