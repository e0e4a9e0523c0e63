"""The section `breakers` of the configuration, by service."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.contract.documents.breakers import BreakersDocument
from control_plane.core.plugins import Document, Section
from control_plane.resilience.events import BreakersChanged
from control_plane.resilience.models import CircuitBreaker


def compile_breakers(session: Session, ids: Collection[str] | None) -> dict[str, Document | None]:
    """Return the documents of the services *ids*, None for one that has no breaker."""
    query = select(CircuitBreaker).order_by(CircuitBreaker.id)
    if ids is not None:
        query = query.where(CircuitBreaker.service.in_(ids))
    found: dict[str, list[Document]] = {}
    for breaker in session.scalars(query):
        found.setdefault(breaker.service, []).append(_describe(breaker))
    documents: dict[str, Document | None] = dict.fromkeys(ids or ())
    documents |= {service: {"breakers": breakers} for service, breakers in found.items()}
    return documents


def _describe(breaker: CircuitBreaker) -> Document:
    return {
        "id": str(breaker.id),
        "endpoint": breaker.endpoint,
        "tenant": None if breaker.tenant_id is None else str(breaker.tenant_id),
        "mode": breaker.mode,
        "failureThreshold": breaker.failure_threshold,
        "minimumCalls": breaker.minimum_calls,
        "windowSeconds": breaker.window_seconds,
        "slowCallMilliseconds": breaker.slow_call_milliseconds,
        "slowCallThreshold": breaker.slow_call_threshold,
        "consecutiveFailures": breaker.consecutive_failures,
        "resetTimeout": breaker.reset_timeout,
        "maxResetTimeout": breaker.max_reset_timeout,
        "halfOpenPermits": breaker.half_open_permits,
        "countedStatuses": breaker.counted_statuses,
    }


def _ids(session: Session, after: str | None, limit: int) -> Sequence[str]:
    service = CircuitBreaker.service
    query = select(service).distinct().order_by(service).limit(limit)
    if after is not None:
        query = query.where(service > after)
    return list(session.scalars(query))


def _services(payload: dict[str, Any]) -> Collection[str]:
    services: list[str] = payload["services"]
    return services


BREAKERS = Section(
    name="breakers",
    schema=BreakersDocument,
    compile=compile_breakers,
    ids=_ids,
    dirty={BreakersChanged.name: _services},
)
