"""Circuit breakers and degradation rules in a manifest: of the platform, and in each tenant."""

import uuid
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy.orm import Session

from control_plane.core.manifest import Kind, Values
from control_plane.resilience.models import CircuitBreaker, DegradationRule
from control_plane.resilience.schemas.breakers import CircuitBreakerUpdateSchema
from control_plane.resilience.schemas.degradations import DegradationRuleUpdateSchema
from control_plane.resilience.service import breakers, degradations, rules


def _rows(entity: type[Any]) -> Callable[[Session, uuid.UUID | None], Iterable[Any]]:
    return lambda session, tenant_id: rules.named(
        session, session.scalars(rules.rules_of(entity, tenant_id)).all()
    )


def _create_breaker(
    session: Session, tenant_id: uuid.UUID | None, values: Values
) -> CircuitBreaker:
    return breakers.create_breaker(session, tenant_id=tenant_id, **values)


def _update_breaker(session: Session, breaker: CircuitBreaker, values: Values) -> CircuitBreaker:
    return breakers.update_breaker(session, breaker, **values)


def _create_degradation(
    session: Session, tenant_id: uuid.UUID | None, values: Values
) -> DegradationRule:
    return degradations.create_degradation(session, tenant_id=tenant_id, **values)


def _update_degradation(session: Session, rule: DegradationRule, values: Values) -> DegradationRule:
    return degradations.update_degradation(session, rule, **values)


KINDS = (
    Kind(
        section="circuitBreakers",
        schema=CircuitBreakerUpdateSchema,
        keys=("name",),
        rows=_rows(CircuitBreaker),
        create=_create_breaker,
        update=_update_breaker,
        delete=breakers.delete_breaker,
        of_tenant=True,
    ),
    Kind(
        section="degradationRules",
        schema=DegradationRuleUpdateSchema,
        keys=("name",),
        rows=_rows(DegradationRule),
        create=_create_degradation,
        update=_update_degradation,
        delete=degradations.delete_degradation,
        of_tenant=True,
    ),
)
