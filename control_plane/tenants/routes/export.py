"""HTTP of a tenant's export."""

import json
import uuid
from collections.abc import Iterator

import flask
from flask.views import MethodView

from control_plane.core.api import Blueprint, database, session
from control_plane.core.auth import current_actor
from control_plane.tenants import permissions
from control_plane.tenants.service import export, tenants

MEDIA_TYPE = "application/jsonl"

blueprint = Blueprint("tenants_export", __name__, url_prefix="/tenants/<uuid:tenant_id>")


@blueprint.route("/export")
class TenantExport(MethodView):
    """All that is kept of a tenant."""

    @blueprint.require(permissions.EXPORT, reveals=True)
    @blueprint.response(200, {"type": "string"}, content_type=MEDIA_TYPE)
    def get(self, tenant_id: uuid.UUID) -> flask.Response:
        """Export a tenant as JSON lines, secrets left out; the last line is of the kind `end`."""
        tenant = tenants.get_tenant(session(), tenant_id)
        batches = export.export_tenant(database(), tenant.id, current_actor())
        name = f"tenant-{tenant.id}.jsonl"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return flask.Response(_lines(batches), mimetype=MEDIA_TYPE, headers=headers)


def _lines(batches: Iterator[export.Batch]) -> Iterator[str]:
    for batch in batches:
        yield "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in batch)
