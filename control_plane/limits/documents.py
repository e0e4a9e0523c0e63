"""The section `limits`: the rules of each tenant, and those for the requests of all.

A tenant's rules are its limits, the `apiCallLimits` of its configuration and the `maxCallsPerDay`
of its models: the gateway knows one kind of rule only.
"""

import datetime
import functools
import uuid
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import false, or_, select
from sqlalchemy.orm import Session

from control_plane import ai_models, tenants
from control_plane.contract.documents import LimitsDocument, camel_case
from control_plane.core import clock, time_zones
from control_plane.core.plugins import Document, Section
from control_plane.limits.events import LimitsChanged
from control_plane.limits.models import Limit

PLATFORM = "platform"
"""The id of the document with the rules for the requests of all."""

MAX_CALLS_PER_DAY = "maxCallsPerDay"

_CALL_LIMITS: Mapping[str, tuple[str, str | None]] = {
    "requests_per_second": ("requests", "second"),
    "requests_per_minute": ("requests", "minute"),
    "requests_per_day": ("requests", "day"),
    "requests_per_month": ("requests", "month"),
    "tokens_per_minute": ("tokens", "minute"),
    "concurrent": ("concurrency", None),
}
"""Name in a tenant's configuration to meter and window."""

_DERIVED: Document = {"burst": None, "onOutage": "local"}
_CALENDAR = ("day", "month")
_YEARS = 10

_Rule = tuple[uuid.UUID | None, Document]
"""A rule without its zone, and whose it is; None: everybody's."""


def compile_limits(session: Session, ids: Collection[str] | None) -> dict[str, Document | None]:
    """Return the documents *ids*, of tenants and `platform`; None for one without rules."""
    wanted = None if ids is None else [uuid.UUID(each) for each in ids if each != PLATFORM]
    known = tenants.call_limits(session, wanted)
    documents: dict[str, Document | None] = dict.fromkeys(ids or ())
    for tenant_id, rule in (
        *_own_rules(session, ids, wanted),
        *_rules_of_configurations(known),
        *_rules_of_models(session, wanted),
    ):
        if tenant_id is not None and tenant_id not in known:
            continue  # it is being purged
        zone = "UTC" if tenant_id is None else known[tenant_id].time_zone
        rule["zone"] = _offsets(zone, clock.now().year) if rule["window"] in _CALENDAR else []
        key = PLATFORM if tenant_id is None else str(tenant_id)
        document = documents.get(key) or {"rules": []}
        document["rules"].append(rule)
        documents[key] = document
    return documents


def _own_rules(
    session: Session, ids: Collection[str] | None, wanted: Collection[uuid.UUID] | None
) -> Iterator[_Rule]:
    """Yield the rules that operators made."""
    query = select(Limit).where(Limit.is_active.is_(True)).order_by(Limit.id)
    if ids is not None and wanted is not None:
        of_platform = Limit.tenant_id.is_(None) if PLATFORM in ids else false()
        query = query.where(or_(Limit.tenant_id.in_(wanted), of_platform))
    for limit in session.scalars(query):
        scope = list(limit.scope)
        if "user" in scope and "tenant" not in scope:
            # Two tenants' issuers may give two people one name.
            scope.insert(0, "tenant")
        match = {name: value for name, value in limit.match.items() if value is not None}
        rule = {
            "id": str(limit.id),
            "name": limit.name,
            "scope": scope,
            "match": match,
            "meter": limit.meter,
            "limit": limit.limit,
            "window": limit.window,
            "burst": limit.burst,
            "onOutage": limit.on_outage,
        }
        yield limit.tenant_id, rule


def _rules_of_configurations(known: Mapping[uuid.UUID, tenants.CallLimits]) -> Iterator[_Rule]:
    """Yield what `apiCallLimits` says."""
    for tenant_id, call_limits in known.items():
        for name, (meter, window) in _CALL_LIMITS.items():
            if name in call_limits.limits:
                rule: Document = {
                    "scope": ["tenant"],
                    "match": {},
                    "meter": meter,
                    "window": window,
                }
                named = {"id": camel_case(name), "name": camel_case(name)}
                yield tenant_id, {**_DERIVED, **named, **rule, "limit": call_limits.limits[name]}


def _rules_of_models(session: Session, wanted: Collection[uuid.UUID] | None) -> Iterator[_Rule]:
    """Yield what `maxCallsPerDay` of tenants' models says."""
    for tenant_id, model_id, most in ai_models.daily_limits(session, wanted):
        rule = {"scope": ["tenant", "model"], "match": {"model": str(model_id)}}
        named = {"id": f"{MAX_CALLS_PER_DAY}/{model_id}", "name": MAX_CALLS_PER_DAY}
        counted = {"meter": "requests", "window": "day", "limit": most}
        yield tenant_id, {**_DERIVED, **named, **rule, **counted}


@functools.lru_cache(maxsize=1000)
def _offsets(zone: str, year: int) -> list[dict[str, int]]:
    """Return the distances of *zone* from UTC around *year* and for years to come.

    They begin at a year's beginning, so that a document that is compiled again is the same.
    """
    start = datetime.datetime(year - 1, 1, 1, tzinfo=datetime.UTC)
    end = datetime.datetime(year + _YEARS, 1, 1, tzinfo=datetime.UTC)
    return [
        {"from": int(moment.timestamp()), "offset": int(offset.total_seconds())}
        for moment, offset in time_zones.offsets(zone, start, end)
    ]


def _ids(session: Session, after: str | None, limit: int) -> list[str]:
    """Return ids behind *after*: tenants in their order, and then the platform."""
    if after == PLATFORM:
        return []
    found = tenants.tenant_ids_after(session, after, limit)
    return [*found, PLATFORM] if len(found) < limit else found


def _owner(payload: dict[str, Any]) -> Collection[str]:
    return [payload["tenant_id"] or PLATFORM]


SECTION = Section(
    name="limits",
    schema=LimitsDocument,
    compile=compile_limits,
    ids=_ids,
    dirty=dict.fromkeys(
        (
            LimitsChanged.name,
            ai_models.TenantModelChanged.name,
            *(event.name for event in tenants.TENANT_EVENTS),
        ),
        _owner,
    ),
)
