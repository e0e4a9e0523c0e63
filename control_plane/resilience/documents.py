"""The sections `breakers` and `degradations` of the configuration, by service."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from control_plane.contract.documents.breakers import BreakersDocument
from control_plane.contract.documents.degradations import DegradationsDocument
from control_plane.core.plugins import Document, Section
from control_plane.resilience.events import BreakersChanged, DegradationsChanged
from control_plane.resilience.models import CircuitBreaker, DegradationRule, ServiceRule


def compile_breakers(session: Session, ids: Collection[str] | None) -> dict[str, Document | None]:
    """Return the documents of the services *ids*, None for one that has no breaker."""
    query = select(CircuitBreaker).order_by(CircuitBreaker.id)
    if ids is not None:
        query = query.where(CircuitBreaker.service.in_(ids))
    return _documents("breakers", ids, session.scalars(query), _breaker)


def compile_degradations(
    session: Session, ids: Collection[str] | None
) -> dict[str, Document | None]:
    """Return the documents of the services *ids*, None for one that has no rule to obey.

    Gateways try rules in this order: a tenant's own before the platform's, the oldest first.
    """
    query = select(DegradationRule).where(DegradationRule.enabled, ~DegradationRule.dry_run)
    query = query.order_by(DegradationRule.tenant_id.is_(None), DegradationRule.id)
    if ids is not None:
        query = query.where(DegradationRule.service.in_(ids))
    return _documents("rules", ids, session.scalars(query), _degradation)


def _documents(
    name: str,
    ids: Collection[str] | None,
    rows: Iterable[Any],
    describe: Callable[[Any], Document],
) -> dict[str, Document | None]:
    found: dict[str, list[Document]] = {}
    for row in rows:
        found.setdefault(row.service, []).append(describe(row))
    documents: dict[str, Document | None] = dict.fromkeys(ids or ())
    documents |= {service: {name: rules} for service, rules in found.items()}
    return documents


def _breaker(breaker: CircuitBreaker) -> Document:
    return {
        "id": str(breaker.id),
        "endpoint": breaker.endpoint,
        "tenant": _tenant(breaker),
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


def _degradation(rule: DegradationRule) -> Document:
    stored = dict(rule.stored_parameters)
    answer = stored.pop("answer")
    if answer is not None:
        answer = {
            "status": answer["status"],
            "contentType": answer["content_type"],
            "body": answer["body"],
        }
    return {
        "id": str(rule.id),
        "name": rule.name,
        "tenant": _tenant(rule),
        "action": rule.action,
        "parameters": {**stored, "answer": answer},
    }


def _tenant(rule: ServiceRule) -> str | None:
    return None if rule.tenant_id is None else str(rule.tenant_id)


def _ids(entity: type[Any]) -> Callable[[Session, str | None, int], Sequence[str]]:
    def ids(session: Session, after: str | None, limit: int) -> Sequence[str]:
        service = entity.service
        query: Select[str] = select(service).distinct().order_by(service).limit(limit)
        if after is not None:
            query = query.where(service > after)
        return list(session.scalars(query))

    return ids


def _services(payload: dict[str, Any]) -> Collection[str]:
    services: list[str] = payload["services"]
    return services


SECTIONS = (
    Section(
        name="breakers",
        schema=BreakersDocument,
        compile=compile_breakers,
        ids=_ids(CircuitBreaker),
        dirty={BreakersChanged.name: _services},
    ),
    Section(
        name="degradations",
        schema=DegradationsDocument,
        compile=compile_degradations,
        ids=_ids(DegradationRule),
        dirty={DegradationsChanged.name: _services},
    ),
)
