"""HTTP of service clients."""

import datetime
import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session
from control_plane.core.conditions import matched
from control_plane.core.merge_patch import merged
from control_plane.core.pagination import Page
from control_plane.core.rotation import NewSecret
from control_plane.service_clients import permissions, service
from control_plane.service_clients.models import ServiceClient
from control_plane.service_clients.schemas import (
    NewServiceClientSchema,
    ServiceClientCreateSchema,
    ServiceClientQuerySchema,
    ServiceClientRotateSchema,
    ServiceClientSchema,
    ServiceClientUpdateSchema,
)

blueprint = Blueprint(
    "service-clients",
    __name__,
    url_prefix="/service-clients",
    description="Programs that use this API in their own name.",
)


@blueprint.route("")
class ServiceClients(MethodView):
    """All service clients."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, ServiceClientSchema(many=True))
    @blueprint.paged(ServiceClientQuerySchema)
    def get(self, **query: Any) -> Page[ServiceClient]:
        """List service clients."""
        return service.list_clients(session(), **query)

    @blueprint.require(permissions.WRITE, reveals=True)
    @blueprint.idempotent(secrets=("clientSecret",))
    @blueprint.arguments(ServiceClientCreateSchema)
    @blueprint.response(201, NewServiceClientSchema)
    def post(self, values: dict[str, Any]) -> NewSecret[ServiceClient]:
        """Make a service client; its secret is shown only in this answer."""
        return service.create_client(session(), **values)


@blueprint.route("/<uuid:client_id>")
class ServiceClientById(MethodView):
    """One service client."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, ServiceClientSchema)
    def get(self, client_id: uuid.UUID) -> ServiceClient:
        """Show a service client, without its secret."""
        return service.get_client(session(), client_id)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(ServiceClientUpdateSchema)
    @blueprint.response(200, ServiceClientSchema)
    def put(self, values: dict[str, Any], client_id: uuid.UUID) -> ServiceClient:
        """Replace a service client's name, role, end and state; its secrets stay."""
        client = matched(service.get_client(session(), client_id))
        return service.update_client(session(), client, **values)

    @blueprint.require(permissions.WRITE)
    @blueprint.merge_patch(ServiceClientUpdateSchema)
    @blueprint.response(200, ServiceClientSchema)
    def patch(self, patch: dict[str, Any], client_id: uuid.UUID) -> ServiceClient:
        """Change a service client; it counts with its next request."""
        client = matched(service.get_client(session(), client_id))
        values = merged(ServiceClientUpdateSchema, client, patch)
        return service.update_client(session(), client, **values)

    @blueprint.require(permissions.WRITE)
    @blueprint.response(204)
    def delete(self, client_id: uuid.UUID) -> None:
        """Delete a service client; its tokens end with it."""
        service.delete_client(session(), matched(service.get_client(session(), client_id)))


@blueprint.route("/<uuid:client_id>/rotate")
class ServiceClientRotation(MethodView):
    """The change of a service client's secret."""

    @blueprint.require(permissions.WRITE, reveals=True)
    @blueprint.idempotent(secrets=("clientSecret",))
    @blueprint.arguments(ServiceClientRotateSchema)
    @blueprint.response(200, NewServiceClientSchema)
    def post(self, values: dict[str, Any], client_id: uuid.UUID) -> NewSecret[ServiceClient]:
        """Give a service client a second secret; the former one ends after the grace.

        The new secret is shown only in this answer. Without a body the grace is a day.
        """
        grace = datetime.timedelta(seconds=values["grace_seconds"])
        return service.rotate_secret(session(), service.get_client(session(), client_id), grace)
