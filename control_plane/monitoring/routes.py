"""HTTP of the room monitoring."""

from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session, settings
from control_plane.core.pagination import Page
from control_plane.monitoring import permissions, service
from control_plane.monitoring.health import Health
from control_plane.monitoring.schemas import ServiceHealthSchema, ServicesQuerySchema

blueprint = Blueprint(
    "monitor", __name__, url_prefix="/monitor", description="How the installation does."
)


@blueprint.route("/services")
class Services(MethodView):
    """All services and parts of the installation."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, ServiceHealthSchema(many=True))
    @blueprint.paged(ServicesQuerySchema)
    def get(self, **query: Any) -> Page[Health]:
        """List how they do; a tenant's user sees the services that his tenant may call."""
        return service.list_services(session(), settings(), **query)
