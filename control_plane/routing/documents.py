"""The sections `routes` (id: tenant) and `upstreams` (id: upstream) of the configuration."""

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.contract.documents import RoutesDocument, UpstreamDocument
from control_plane.core.pagination import keys_after
from control_plane.core.plugins import Document, Section
from control_plane.routing import targets
from control_plane.routing.events import RoutesChanged, UpstreamChanged
from control_plane.routing.models import Route, Upstream


def compile_routes(session: Session, ids: Collection[str] | None) -> dict[str, Document | None]:
    """Return the documents of the tenants *ids*, None for one that has no active route."""
    query = select(Route).where(Route.is_active.is_(True))
    if ids is not None:
        query = query.where(Route.tenant_id.in_([uuid.UUID(each) for each in ids]))
    found: dict[str, list[Route]] = {}
    for route in session.scalars(query):
        found.setdefault(str(route.tenant_id), []).append(route)
    documents: dict[str, Document | None] = dict.fromkeys(ids or ())
    for tenant_id, routes in found.items():
        documents[tenant_id] = RoutesDocument().dump({"routes": sorted(routes, key=_order)})
    return documents


def _order(route: Route) -> tuple[Any, ...]:
    """Return where a route stands: what says more of a request is asked before what says less."""
    kind, value = route.path["kind"], route.path["value"]
    return (
        kind != "exact",
        -route.priority,
        kind == "regex",
        0 if kind == "regex" else -len(value.encode()),
        -len(route.headers),
        route.methods is None,
        not route.domains,
        route.id,
    )


def _tenant_ids(session: Session, after: str | None, limit: int) -> list[str]:
    query = select(Route.tenant_id).distinct().order_by(Route.tenant_id).limit(limit)
    if after is not None:
        query = query.where(Route.tenant_id > uuid.UUID(after))
    return [str(tenant_id) for tenant_id in session.scalars(query)]


def compile_upstreams(session: Session, ids: Collection[str] | None) -> dict[str, Document | None]:
    """Return the documents of the upstreams *ids*, None for one that is gone."""
    query = select(Upstream)
    if ids is not None:
        query = query.where(Upstream.id.in_([uuid.UUID(each) for each in ids]))
    documents: dict[str, Document | None] = dict.fromkeys(ids or ())
    documents |= {str(each.id): _upstream(session, each) for each in session.scalars(query)}
    return documents


def _upstream(session: Session, upstream: Upstream) -> Document:
    document: Document = UpstreamDocument().dump(upstream)
    if upstream.discovery is not None:
        # What a plugin does not know any more has no targets: calls are answered with 502.
        found = targets.discovered(session, upstream.discovery, upstream.tenant_id) or ()
        document["targets"] = [{"weight": 1, **target} for target in found]
    if upstream.scheme == "https" and upstream.server_name is None:
        document["serverName"] = targets.one_name(upstream.targets)
    return document


def _tenant(payload: dict[str, Any]) -> Collection[str]:
    return [payload["tenant_id"]]


def _of_upstream(payload: dict[str, Any]) -> Collection[str]:
    return [payload["upstream_id"]]


ROUTES = Section(
    name="routes",
    schema=RoutesDocument,
    compile=compile_routes,
    ids=_tenant_ids,
    dirty={RoutesChanged.name: _tenant},
)
UPSTREAMS = Section(
    name="upstreams",
    schema=UpstreamDocument,
    compile=compile_upstreams,
    ids=lambda session, after, limit: keys_after(session, Upstream.id, after, limit),
    dirty={UpstreamChanged.name: _of_upstream},
)
