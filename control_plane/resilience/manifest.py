"""Circuit breakers in a manifest: of the platform, and in each tenant."""

import uuid
from collections.abc import Iterable

from sqlalchemy.orm import Session

from control_plane.core.manifest import Kind, Values
from control_plane.resilience import service
from control_plane.resilience.models import CircuitBreaker
from control_plane.resilience.schemas import CircuitBreakerUpdateSchema


def _rows(session: Session, tenant_id: uuid.UUID | None) -> Iterable[CircuitBreaker]:
    return service.named(session, session.scalars(service.breakers_of(tenant_id)).all())


def _create(session: Session, tenant_id: uuid.UUID | None, values: Values) -> CircuitBreaker:
    return service.create_breaker(session, tenant_id=tenant_id, **values)


def _update(session: Session, breaker: CircuitBreaker, values: Values) -> CircuitBreaker:
    return service.update_breaker(session, breaker, **values)


BREAKERS = Kind(
    section="circuitBreakers",
    schema=CircuitBreakerUpdateSchema,
    keys=("name",),
    rows=_rows,
    create=_create,
    update=_update,
    delete=service.delete_breaker,
    of_tenant=True,
)
