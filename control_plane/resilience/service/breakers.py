"""The verbs of circuit breakers."""

import uuid
from typing import Any

from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core.errors import Conflict, NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.resilience.events import BreakersChanged
from control_plane.resilience.models import CircuitBreaker
from control_plane.resilience.service import rules


def get_breaker(session: Session, breaker_id: uuid.UUID) -> CircuitBreaker:
    """Return a circuit breaker that the current scope may see.

    Raises:
        NotFound: there is none.
    """
    breaker = rules.find_rule(session, CircuitBreaker, breaker_id)
    if breaker is None:
        raise NotFound("circuit_breaker")
    return breaker


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
    breaker.service = rules.key_of(
        session, breaker.tenant_id, service_name, before=before, pointer="serviceName"
    )
    for field, value in fields.items():
        setattr(breaker, field, value)
    breaker.name = name or " ".join(filter(None, [service_name, breaker.endpoint]))[:200]
    rules.save(
        session,
        breaker,
        taken=Conflict(
            "circuit_breaker_exists", f"There is a circuit breaker named {breaker.name} already."
        ),
        too_many=Conflict("too_many_circuit_breakers", rules.BOUND),
    )
    emit(session, BreakersChanged(services=sorted({before, breaker.service} - {""})))
    return breaker


def delete_breaker(session: Session, breaker: CircuitBreaker) -> None:
    """Delete a breaker: calls that it held back are made again."""
    session.delete(breaker)
    session.flush()
    emit(session, BreakersChanged(services=[breaker.service]))


def delete_tenant_breakers(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete up to *limit* breakers of a tenant that is being purged; return how many."""
    found = session.scalars(rules.rules_of(CircuitBreaker, tenant_id).limit(limit)).all()
    for breaker in found:
        delete_breaker(session, breaker)
    return len(found)
