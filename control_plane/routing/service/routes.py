"""The verbs of a tenant's routes."""

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.contract.documents import RoutesDocument
from control_plane.core import pagination, plugins
from control_plane.core.database import settings
from control_plane.core.errors import Conflict, Invalid, NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.pagination import Page
from control_plane.core.schemas import Order
from control_plane.routing.events import RoutesChanged
from control_plane.routing.models import Route
from control_plane.routing.service import upstreams

MOST_ROUTES = 200
MOST_PATTERNS = 20
"""Routes of a tenant whose path is a pattern: a request may have to try them all."""
MOST_BYTES = 256 * 1024
"""Of the JSON of all routes of a tenant, which gateways hold as one document."""


def list_routes(
    session: Session, tenant_id: uuid.UUID, *, page: int, page_size: int, sort: Order = ()
) -> Page[Route]:
    """Return a tenant's routes, the oldest first unless *sort* says otherwise."""
    tenants.get_tenant(session, tenant_id)
    query = routes_of(tenant_id).order_by(None).order_by(*pagination.ordering(Route, sort))
    return pagination.page(session, query, page, page_size)


def get_route(session: Session, tenant_id: uuid.UUID, route_id: uuid.UUID) -> Route:
    """Return one route of a tenant.

    Raises:
        NotFound: the tenant has no such route.
    """
    route = session.get(Route, route_id)
    if route is None or route.tenant_id != tenant_id:
        raise NotFound("route")
    return route


def create_route(session: Session, tenant_id: uuid.UUID, values: Mapping[str, Any]) -> Route:
    """Send some of a tenant's requests to an upstream.

    Raises:
        Conflict: the name is taken, or the tenant's routes are too many or too long.
        Invalid: it names a domain or an upstream that the tenant may not.
    """
    tenants.get_tenant(session, tenant_id, lock=True)
    route = Route(id=new_id(), tenant_id=tenant_id)
    session.add(route)
    return _saved(session, route, values)


def update_route(session: Session, route: Route, values: Mapping[str, Any]) -> Route:
    """Change a route.

    Raises:
        Conflict: the name is taken, or the tenant's routes are too many or too long.
        Invalid: it names a domain or an upstream that the tenant may not.
    """
    tenants.get_tenant(session, route.tenant_id, lock=True)
    return _saved(session, route, values)


def _saved(session: Session, route: Route, values: Mapping[str, Any]) -> Route:
    with session.no_autoflush:
        for name, value in values.items():
            setattr(route, name, value)
        _refuse_unknown(session, route)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict("route_name_taken", "This tenant has a route of this name.") from error
    _refuse_too_much(session, route.tenant_id)
    emit(session, RoutesChanged(tenant_id=route.tenant_id))
    return route


def _refuse_unknown(session: Session, route: Route) -> None:
    if upstreams.find_usable(session, route.upstream_id, route.tenant_id) is None:
        raise Invalid.field("upstream", "There is no such upstream of this tenant, or shared.")
    known = {
        each["domainName"]
        for each in plugins.manager()
        .hook.yumen_tenant_domains(session=session, tenant_ids=[route.tenant_id])
        .get(route.tenant_id, ())
    }
    for number, domain in enumerate(route.domains):
        if domain not in known:
            raise Invalid.field(f"domains/{number}", "Must be one of the tenant's domains.")
    most = settings(session).gateway.body_limit_mb * 1024 * 1024
    if route.max_request_bytes is not None and route.max_request_bytes > most:
        raise Invalid.field(
            "maxRequestBytes", f"Must be at most {most}: gateway.body_limit_mb decides."
        )


def _refuse_too_much(session: Session, tenant_id: uuid.UUID) -> None:
    routes = session.scalars(routes_of(tenant_id)).all()
    if len(routes) > MOST_ROUTES:
        raise Conflict("too_many_routes", f"A tenant may have {MOST_ROUTES} routes.")
    if sum(route.path["kind"] == "regex" for route in routes) > MOST_PATTERNS:
        raise Conflict("too_many_routes", f"A tenant may have {MOST_PATTERNS} of kind regex.")
    if len(RoutesDocument().dumps({"routes": routes})) > MOST_BYTES:
        raise Conflict(
            "routes_too_long", f"A tenant's routes may have {MOST_BYTES} bytes together, as JSON."
        )


def delete_route(session: Session, route: Route) -> None:
    """Send the requests of a route nowhere any more."""
    session.delete(route)
    session.flush()
    emit(session, RoutesChanged(tenant_id=route.tenant_id))


def delete_tenant_routes(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete up to *limit* routes of a tenant; return how many."""
    found = session.scalars(routes_of(tenant_id).limit(limit)).all()
    for route in found:
        delete_route(session, route)
    return len(found)


def routes_of(tenant_id: uuid.UUID) -> Select[Route]:
    """Return the query for a tenant's routes, the oldest first."""
    return select(Route).where(Route.tenant_id == tenant_id).order_by(Route.id)


def route_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of those of *ids* that are routes."""
    rows = session.execute(select(Route.id, Route.name).where(Route.id.in_(ids)))
    return {route_id: name for route_id, name in rows}  # noqa: C416 - a Row is no pair
