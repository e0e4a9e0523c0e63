"""HTTP of the room usage."""

import uuid
from typing import Any
from urllib.parse import urlencode

import flask
from flask.views import MethodView

from control_plane.core import pagination
from control_plane.core.api import Blueprint, session
from control_plane.usage import permissions, service
from control_plane.usage.periods import choose_period
from control_plane.usage.schemas import (
    EventsQuerySchema,
    UsageEventSchema,
    UsageQuerySchema,
    UsageSchema,
)

blueprint = Blueprint(
    "usage", __name__, url_prefix="/tenants", description="What calls used and cost."
)


@blueprint.route("/<uuid:tenant_id>/usage")
class Usage(MethodView):
    """A tenant's usage."""

    @blueprint.require(permissions.READ)
    @blueprint.arguments(UsageQuerySchema, location="query")
    @blueprint.response(200, UsageSchema)
    def get(self, query: dict[str, Any], tenant_id: uuid.UUID) -> service.Usage:
        """Sum up a tenant's usage."""
        period = choose_period(session(), tenant_id, query["start"], query["end"])
        return service.sum_usage(session(), tenant_id, period, query["group_by"])


@blueprint.route("/<uuid:tenant_id>/usage/events")
class UsageEvents(MethodView):
    """A tenant's calls."""

    @blueprint.require(permissions.READ)
    @blueprint.arguments(EventsQuerySchema, location="query")
    @blueprint.response(200, UsageEventSchema(many=True))
    def get(self, query: dict[str, Any], tenant_id: uuid.UUID) -> Any:
        """List a tenant's calls, the newest first."""
        period = choose_period(session(), tenant_id, query["start"], query["end"])
        found = service.list_events(session(), tenant_id, period, query["cursor"], query["limit"])
        headers = {"X-Pagination": pagination.cursor_header(found.next_cursor)}
        if found.next_cursor is None:
            return found.events, headers
        parameters = {
            "from": period.start.isoformat().replace("+00:00", "Z"),
            "to": period.end.isoformat().replace("+00:00", "Z"),
            "limit": query["limit"],
            "cursor": found.next_cursor,
        }
        link = f'<{flask.request.path}?{urlencode(parameters)}>; rel="next"'
        return found.events, {**headers, "Link": link}
