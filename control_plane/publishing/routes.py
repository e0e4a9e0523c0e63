"""HTTP of the room publishing."""

import redis
from flask.views import MethodView

from control_plane.core.api import Blueprint, PageQuerySchema, session, settings
from control_plane.core.errors import ApiError
from control_plane.core.pagination import Page
from control_plane.core.redis import connect
from control_plane.publishing import permissions, service
from control_plane.publishing.models import PublishingRefusal, PublishingRevision
from control_plane.publishing.schemas import NodeSchema, PublishRefusalSchema, PublishSchema
from control_plane.publishing.service import Node

blueprint = Blueprint("gateway", __name__, url_prefix="/gateway")

_TIMEOUT_SECONDS = 2.0


@blueprint.route("/nodes")
class Nodes(MethodView):
    """The gateway nodes."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, NodeSchema(many=True))
    def get(self) -> list[Node]:
        """List the gateway nodes with the revision that all their workers hold."""
        client = connect(settings(), socket_timeout=_TIMEOUT_SECONDS)
        try:
            return service.list_nodes(session(), client)
        except redis.RedisError as error:
            raise ApiError(503, "redis_unavailable", "Redis cannot be reached.") from error
        finally:
            client.close()


@blueprint.route("/revisions")
class Revisions(MethodView):
    """What was published."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, PublishSchema(many=True))
    @blueprint.paged(PageQuerySchema)
    def get(self, page: int, page_size: int) -> Page[PublishingRevision]:
        """List what was published, the newest first."""
        return service.list_revisions(session(), page=page, page_size=page_size)


@blueprint.route("/refusals")
class Refusals(MethodView):
    """What could not be published."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, PublishRefusalSchema(many=True))
    @blueprint.paged(PageQuerySchema)
    def get(self, page: int, page_size: int) -> Page[PublishingRefusal]:
        """List the documents that could not be published and why."""
        return service.list_refusals(session(), page=page, page_size=page_size)
