"""HTTP of upstreams."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session, settings
from control_plane.core.auth import current_actor
from control_plane.core.conditions import matched
from control_plane.core.errors import NotFound
from control_plane.core.merge_patch import merged, replaced
from control_plane.core.pagination import Page
from control_plane.routing import permissions, targets
from control_plane.routing.models import Upstream
from control_plane.routing.schemas.upstreams import (
    UpstreamCreateSchema,
    UpstreamQuerySchema,
    UpstreamSchema,
    UpstreamUpdateSchema,
)
from control_plane.routing.service import upstreams

blueprint = Blueprint(
    "upstreams", __name__, url_prefix="/upstreams", description="Where requests of routes go."
)


@blueprint.route("")
class Upstreams(MethodView):
    """All upstreams."""

    @blueprint.require(permissions.READ_UPSTREAMS)
    @blueprint.response(200, UpstreamSchema(many=True))
    @blueprint.paged(UpstreamQuerySchema)
    def get(self, **query: Any) -> Page[Upstream]:
        """List upstreams; a tenant's user sees the tenant's own and those that are shared."""
        return upstreams.list_upstreams(session(), **query)

    @blueprint.require(permissions.WRITE_UPSTREAMS)
    @blueprint.arguments(UpstreamCreateSchema)
    @blueprint.response(201, UpstreamSchema)
    def post(self, values: dict[str, Any]) -> Upstream:
        """Add an upstream."""
        _refuse_private(values)
        return upstreams.create_upstream(session(), **values)


@blueprint.route("/<uuid:upstream_id>")
class UpstreamById(MethodView):
    """One upstream."""

    @blueprint.require(permissions.READ_UPSTREAMS)
    @blueprint.response(200, UpstreamSchema)
    def get(self, upstream_id: uuid.UUID) -> Upstream:
        """Show an upstream."""
        found = upstreams.find_usable(session(), upstream_id, current_actor().tenant_id)
        if found is None:
            raise NotFound("upstream")
        return found

    @blueprint.require(permissions.WRITE_UPSTREAMS)
    @blueprint.arguments(UpstreamUpdateSchema)
    @blueprint.response(200, UpstreamSchema)
    def put(self, values: dict[str, Any], upstream_id: uuid.UUID) -> Upstream:
        """Replace an upstream."""
        upstream = matched(upstreams.get_upstream(session(), upstream_id))
        return _update(upstream_id, replaced(UpstreamUpdateSchema, upstream, values))

    @blueprint.require(permissions.WRITE_UPSTREAMS)
    @blueprint.merge_patch(UpstreamUpdateSchema)
    @blueprint.response(200, UpstreamSchema)
    def patch(self, patch: dict[str, Any], upstream_id: uuid.UUID) -> Upstream:
        """Change some fields of an upstream."""
        upstream = matched(upstreams.get_upstream(session(), upstream_id))
        return _update(upstream_id, merged(UpstreamUpdateSchema, upstream, patch))

    @blueprint.require(permissions.WRITE_UPSTREAMS)
    @blueprint.response(204)
    def delete(self, upstream_id: uuid.UUID) -> None:
        """Delete an upstream that no route leads to."""
        upstreams.delete_upstream(
            session(), matched(upstreams.get_upstream(session(), upstream_id))
        )


def _update(upstream_id: uuid.UUID, values: dict[str, Any]) -> Upstream:
    """Change the upstream, which another request may have changed while the DNS was asked."""
    _refuse_private(values)
    upstream = matched(upstreams.get_upstream(session(), upstream_id))
    return upstreams.update_upstream(session(), upstream, **values)


def _refuse_private(values: dict[str, Any]) -> None:
    # On SQLite a request that may write holds the database's only lock: not while the DNS is asked.
    session().rollback()
    targets.refuse_private(values["scheme"], values["targets"], settings())
