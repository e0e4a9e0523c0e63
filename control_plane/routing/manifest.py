"""Upstreams and routes in a manifest, where a route names its upstream.

`platform/NAME` is one of the platform's own, which is shared; names have no / themselves.
"""

import uuid
from collections.abc import Iterable
from typing import Any

from marshmallow import fields
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core import tenancy
from control_plane.core.database import settings
from control_plane.core.errors import Invalid
from control_plane.core.manifest import Kind, Values
from control_plane.routing import targets
from control_plane.routing.models import Route, Upstream
from control_plane.routing.schemas.routes import RouteUpdateSchema
from control_plane.routing.schemas.upstreams import UpstreamUpdateSchema
from control_plane.routing.service import routes, upstreams

_SHARED = "platform/"


class RouteManifestSchema(RouteUpdateSchema):
    """One of a tenant's own routes."""

    upstream = fields.String(required=True, attribute="upstream_name")


def _upstreams(session: Session, tenant_id: uuid.UUID | None) -> Iterable[Upstream]:
    return session.scalars(upstreams.upstreams_of(tenant_id))


def _create_upstream(session: Session, tenant_id: uuid.UUID | None, values: Values) -> Upstream:
    targets.refuse_private(values["scheme"], values["targets"], settings(session))
    return upstreams.create_upstream(session, tenant_id=tenant_id, **values)


def _update_upstream(session: Session, upstream: Upstream, values: Values) -> Upstream:
    targets.refuse_private(values["scheme"], values["targets"], settings(session))
    return upstreams.update_upstream(session, upstream, **values)


def _routes(session: Session, tenant_id: uuid.UUID) -> Iterable[Route]:
    found = session.scalars(routes.routes_of(tenant_id)).all()
    query = select(Upstream.id, Upstream.tenant_id, Upstream.name)
    with tenancy.platform_context():  # the shared ones are nobody's
        rows = session.execute(query.where(Upstream.id.in_({each.upstream_id for each in found})))
        names = {row.id: f"{'' if row.tenant_id else _SHARED}{row.name}" for row in rows}
    for route in found:
        route.upstream_name = names[route.upstream_id]
    return found


def _create_route(session: Session, tenant_id: uuid.UUID, values: Values) -> Route:
    return routes.create_route(session, tenant_id, _resolved(session, tenant_id, values))


def _update_route(session: Session, route: Route, values: Values) -> Route:
    return routes.update_route(session, route, _resolved(session, route.tenant_id, values))


def _resolved(session: Session, tenant_id: uuid.UUID, values: Values) -> dict[str, Any]:
    name = values["upstream_name"]
    is_shared = name.startswith(_SHARED)
    query = select(Upstream.id).where(
        Upstream.tenant_id == (None if is_shared else tenant_id),
        Upstream.name == name.removeprefix(_SHARED),
    )
    with tenancy.platform_context():
        found = session.scalar(query)
    if found is None:
        raise Invalid.field("upstream", f"There is no upstream {name}.")
    return {**values, "upstream_id": found}


UPSTREAMS = Kind(
    section="upstreams",
    schema=UpstreamUpdateSchema,
    keys=("name",),
    rows=_upstreams,
    create=_create_upstream,
    update=_update_upstream,
    delete=upstreams.delete_upstream,
    of_tenant=True,
)
ROUTES = Kind(
    section="routes",
    schema=RouteManifestSchema,
    keys=("name",),
    rows=_routes,
    create=_create_route,
    update=_update_route,
    delete=routes.delete_route,
    of_platform=False,
    of_tenant=True,
)
