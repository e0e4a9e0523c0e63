"""The verbs of circuit breakers."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core import pagination, plugins, tenancy
from control_plane.core.errors import Conflict, Invalid, NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.pagination import Page
from control_plane.core.schemas import Order
from control_plane.resilience.events import BreakersChanged
from control_plane.resilience.models import CircuitBreaker

MOST_OF_A_SERVICE = 20
"""Of a tenant, or of the platform: gateways hold a service's breakers in one document."""


def list_breakers(
    session: Session,
    *,
    page: int,
    page_size: int,
    sort: Order = (),
    tenant_id: uuid.UUID | None = None,
) -> Page[CircuitBreaker]:
    """Return the breakers that the current scope may see, by name or by *sort*."""
    query = select(CircuitBreaker)
    if tenant_id is not None:
        owner = tenants.get_tenant(session, tenant_id).id
        query = query.where(CircuitBreaker.tenant_id == owner)
    query = query.order_by(*pagination.ordering(CircuitBreaker, sort or [("name", False)]))
    found = pagination.page(session, query, page, page_size)
    return Page(items=named(session, found.items), total=found.total)


def get_breaker(session: Session, breaker_id: uuid.UUID) -> CircuitBreaker:
    """Return a breaker that the current scope may see.

    Raises:
        NotFound: there is none.
    """
    breaker = session.scalar(select(CircuitBreaker).where(CircuitBreaker.id == breaker_id))
    if breaker is None:
        raise NotFound("circuit_breaker")
    return named(session, [breaker])[0]


def create_breaker(
    session: Session, *, tenant_id: uuid.UUID | None = None, **fields: Any
) -> CircuitBreaker:
    """Add a breaker of the platform's or of a tenant; a tenant's user adds one of his own tenant.

    Raises:
        NotFound: the tenant does not exist, or is not the current scope's.
        Invalid: there is no such service.
        Conflict: the name is taken, or the service has too many.
    """
    owner = tenants.owner_of(session, tenant_id)
    return update_breaker(
        session, CircuitBreaker(id=new_id(), tenant_id=owner, service=""), **fields
    )


def update_breaker(session: Session, breaker: CircuitBreaker, **fields: Any) -> CircuitBreaker:
    """Change a breaker; without a name it is called after its service and endpoint.

    Raises:
        Invalid: there is no such service.
        Conflict: the name is taken, or the service has too many.
    """
    service_name, name = fields.pop("service_name"), fields.pop("name", None)
    before = breaker.service
    # One whose service is gone can still be changed: it goes by the key.
    if not before or service_name != _names(session, [before])[before]:
        breaker.service = _key_of(session, breaker.tenant_id, service_name)
    for field, value in fields.items():
        setattr(breaker, field, value)
    breaker.name = name or " ".join(filter(None, [service_name, breaker.endpoint]))[:200]
    session.add(breaker)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(
            "circuit_breaker_exists", f"There is a circuit breaker named {breaker.name} already."
        ) from error
    siblings = breakers_of(breaker.tenant_id).where(CircuitBreaker.service == breaker.service)
    if (session.scalar(select(func.count()).select_from(siblings.subquery())) or 0) > (
        MOST_OF_A_SERVICE
    ):
        raise Conflict(
            "too_many_circuit_breakers", f"A service may have {MOST_OF_A_SERVICE} of one owner."
        )
    emit(session, BreakersChanged(services=sorted({before, breaker.service} - {""})))
    return named(session, [breaker])[0]


def delete_breaker(session: Session, breaker: CircuitBreaker) -> None:
    """Delete a breaker: calls that it held back are made again."""
    session.delete(breaker)
    session.flush()
    emit(session, BreakersChanged(services=[breaker.service]))


def delete_tenant_breakers(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete up to *limit* breakers of a tenant that is being purged; return how many."""
    found = session.scalars(breakers_of(tenant_id).limit(limit)).all()
    for breaker in found:
        delete_breaker(session, breaker)
    return len(found)


def breakers_of(tenant_id: uuid.UUID | None) -> Select[CircuitBreaker]:
    """Return the query for the breakers of a tenant, None for the platform's, the oldest first."""
    query = select(CircuitBreaker).where(CircuitBreaker.tenant_id == tenant_id)
    return query.order_by(CircuitBreaker.id)


def named(session: Session, breakers: Sequence[CircuitBreaker]) -> Sequence[CircuitBreaker]:
    """Return *breakers*, which say what their services are called."""
    names = _names(session, {breaker.service for breaker in breakers})
    for breaker in breakers:
        breaker.service_name = names[breaker.service]
    return breakers


def _names(session: Session, keys: Iterable[str]) -> dict[str, str]:
    """Return what services are called; one that is gone is called by its key."""
    ids = {key: uuid.UUID(key.partition(":")[2]) for key in keys}
    found: dict[uuid.UUID, str] = {}
    with tenancy.platform_context():  # the shared ones are nobody's
        hook = plugins.manager().hook
        for answer in hook.yumen_names(session=session, ids=set(ids.values())) if ids else ():
            found |= answer
    return {key: found.get(service_id, key) for key, service_id in ids.items()}


def _key_of(session: Session, tenant_id: uuid.UUID | None, name: str) -> str:
    hook = plugins.manager().hook
    answers = hook.yumen_services(session=session, tenant_id=tenant_id, name=name)
    keys: list[str] = sorted({key for answer in answers for key in answer})
    if not keys:
        raise Invalid.field(
            "serviceName", f"There is no AI model and no upstream called {name} that may be called."
        )
    if len(keys) > 1:
        raise Invalid.field(
            "serviceName", f"Several services are called so: write {' or '.join(keys)}."
        )
    return keys[0]
