"""HTTP of a tenant's routes."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session
from control_plane.core.conditions import matched
from control_plane.core.merge_patch import merged, replaced
from control_plane.core.pagination import Page
from control_plane.routing import permissions
from control_plane.routing.models import Route
from control_plane.routing.schemas.routes import (
    RouteQuerySchema,
    RouteSchema,
    RouteUpdateSchema,
)
from control_plane.routing.service import routes

blueprint = Blueprint("routes", __name__, url_prefix="/tenants/<uuid:tenant_id>/routes")


@blueprint.route("")
class Routes(MethodView):
    """Which requests of a tenant go where."""

    @blueprint.require(permissions.READ_ROUTES)
    @blueprint.response(200, RouteSchema(many=True))
    @blueprint.paged(RouteQuerySchema)
    def get(self, tenant_id: uuid.UUID, **query: Any) -> Page[Route]:
        """List a tenant's routes."""
        return routes.list_routes(session(), tenant_id, **query)

    @blueprint.require(permissions.WRITE_ROUTES)
    @blueprint.arguments(RouteUpdateSchema)
    @blueprint.response(201, RouteSchema)
    def post(self, values: dict[str, Any], tenant_id: uuid.UUID) -> Route:
        """Send some of a tenant's requests to an upstream."""
        return routes.create_route(session(), tenant_id, values)


@blueprint.route("/<uuid:route_id>")
class RouteById(MethodView):
    """One route."""

    @blueprint.require(permissions.READ_ROUTES)
    @blueprint.response(200, RouteSchema)
    def get(self, tenant_id: uuid.UUID, route_id: uuid.UUID) -> Route:
        """Show a route."""
        return routes.get_route(session(), tenant_id, route_id)

    @blueprint.require(permissions.WRITE_ROUTES)
    @blueprint.arguments(RouteUpdateSchema)
    @blueprint.response(200, RouteSchema)
    def put(self, values: dict[str, Any], tenant_id: uuid.UUID, route_id: uuid.UUID) -> Route:
        """Replace a route."""
        route = matched(routes.get_route(session(), tenant_id, route_id))
        values = replaced(RouteUpdateSchema, route, values)
        return routes.update_route(session(), route, values)

    @blueprint.require(permissions.WRITE_ROUTES)
    @blueprint.merge_patch(RouteUpdateSchema)
    @blueprint.response(200, RouteSchema)
    def patch(self, patch: dict[str, Any], tenant_id: uuid.UUID, route_id: uuid.UUID) -> Route:
        """Change some fields of a route."""
        route = matched(routes.get_route(session(), tenant_id, route_id))
        values = merged(RouteUpdateSchema, route, patch)
        return routes.update_route(session(), route, values)

    @blueprint.require(permissions.WRITE_ROUTES)
    @blueprint.response(204)
    def delete(self, tenant_id: uuid.UUID, route_id: uuid.UUID) -> None:
        """Delete a route; its requests are answered with 404."""
        routes.delete_route(session(), matched(routes.get_route(session(), tenant_id, route_id)))
