"""HTTP of the room audit."""

import uuid
from typing import Any
from urllib.parse import urlencode

import flask
from flask.views import MethodView

from control_plane.audit import permissions, service
from control_plane.audit.schemas import AuditLogQuerySchema, AuditLogSchema
from control_plane.core import pagination
from control_plane.core.api import Blueprint, session

blueprint = Blueprint(
    "audit-logs", __name__, url_prefix="/audit-logs", description="Who changed what, from where."
)


@blueprint.route("")
class AuditLogs(MethodView):
    """The audit log."""

    @blueprint.require(permissions.READ)
    @blueprint.arguments(AuditLogQuerySchema, location="query")
    @blueprint.response(200, AuditLogSchema(many=True))
    def get(self, query: dict[str, Any]) -> Any:
        """List what was done, the newest first; a tenant's user sees what is about his tenant."""
        cursor, limit = query.pop("cursor"), query.pop("limit")
        found = service.list_logs(session(), query, cursor, limit)
        headers = {"X-Pagination": pagination.cursor_header(found.next_cursor)}
        if found.next_cursor is None:
            return found.entries, headers
        given = {name: value for name, value in flask.request.args.items() if name != "cursor"}
        following = urlencode({**given, "cursor": found.next_cursor})
        link = f'<{flask.request.path}?{following}>; rel="next"'
        return found.entries, {**headers, "Link": link}


@blueprint.route("/<uuid:log_id>")
class AuditLogById(MethodView):
    """One entry of the audit log."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, AuditLogSchema)
    def get(self, log_id: uuid.UUID) -> dict[str, Any]:
        """Show an entry."""
        return service.get_log(session(), log_id)
