"""The verbs of degradation rules."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.contract import camel_case
from control_plane.core.errors import Conflict, Invalid, NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.resilience import conditions
from control_plane.resilience.events import DegradationsChanged
from control_plane.resilience.models import FALLBACKS, DegradationRule
from control_plane.resilience.service import rules, services

_CALLED = {"model": "an AI model", "upstream": "an upstream"}


def get_degradation(session: Session, rule_id: uuid.UUID) -> DegradationRule:
    """Return a rule that the current scope may see.

    Raises:
        NotFound: there is none.
    """
    rule = rules.find_rule(session, DegradationRule, rule_id)
    if rule is None:
        raise NotFound("degradation_rule")
    return rule


def create_degradation(
    session: Session, *, tenant_id: uuid.UUID | None = None, **fields: Any
) -> DegradationRule:
    """Add a rule of the platform's or of a tenant; a tenant's user adds one of his own tenant.

    Raises:
        NotFound: the tenant does not exist, or is not the current scope's.
        Invalid: there is no such service, or none that could be called instead.
        Conflict: the name is taken, or the service has too many.
    """
    owner = tenants.owner_of(session, tenant_id)
    rule = DegradationRule(id=new_id(), tenant_id=owner, service="", stored_parameters={})
    return update_degradation(session, rule, **fields)


def update_degradation(session: Session, rule: DegradationRule, **fields: Any) -> DegradationRule:
    """Change a rule: if it is in force, it ends, and its condition is watched anew.

    Raises:
        Invalid: there is no such service, or none that could be called instead.
        Conflict: the name is taken, or the service has too many.
    """
    before, name = rule.service, fields.pop("service_name")
    service = rules.key_of(session, rule.tenant_id, name, before=before, pointer="serviceName")
    _refuse_others_traffic(session, rule, service, fields)
    parameters = _stored(session, rule, service, fields.pop("parameters"))
    rule.service, rule.stored_parameters = service, parameters
    for field, value in fields.items():
        setattr(rule, field, value)
    rules.save(
        session,
        rule,
        taken=Conflict(
            "degradation_rule_exists", f"There is a degradation rule named {rule.name} already."
        ),
        too_many=Conflict("too_many_degradation_rules", rules.BOUND),
    )
    emit(session, DegradationsChanged(services=sorted({before, rule.service} - {""})))
    return rule


def delete_degradation(session: Session, rule: DegradationRule) -> None:
    """Delete a rule; what it does ends with it."""
    session.delete(rule)
    session.flush()
    emit(session, DegradationsChanged(services=[rule.service]))


def delete_tenant_degradations(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete up to *limit* rules of a tenant that is being purged; return how many."""
    found = session.scalars(rules.rules_of(DegradationRule, tenant_id).limit(limit)).all()
    for rule in found:
        delete_degradation(session, rule)
    return len(found)


def _refuse_others_traffic(
    session: Session, rule: DegradationRule, service: str, fields: Mapping[str, Any]
) -> None:
    """Refuse a tenant's condition that tells how much others call."""
    if rule.tenant_id is None:
        return
    hidden = {"nodeLoad"}
    if not services.is_of(session, rule.tenant_id, service):
        hidden |= {"rate", "concurrency"}
    for field in ("condition", "clear_condition"):
        named = conditions.parse(fields[field]).names if fields[field] is not None else ()
        for name in named:
            if name in hidden:
                raise Invalid.field(
                    camel_case(field),
                    f"{name} tells of the calls of others: a tenant's rule may name it only of an "
                    "upstream of its own."
                    if name != "nodeLoad"
                    else "nodeLoad tells of the calls of others: only the platform's rules may "
                    "name it.",
                )


def _stored(
    session: Session, rule: DegradationRule, service: str, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Return *parameters* with the id of the service that is called instead, not its name."""
    stored = dict(parameters)
    for kind in FALLBACKS:
        if parameters[kind] is None:
            continue
        pointer = f"parameters/{kind}"
        if not service.startswith(f"{kind}:"):
            own = next(called for other, called in _CALLED.items() if service.startswith(other))
            raise Invalid.field(pointer, f"The service is {own}, so what replaces it must be too.")
        key = rules.key_of(
            session, rule.tenant_id, parameters[kind], before=rule.fallback, pointer=pointer
        )
        if not key.startswith(f"{kind}:"):
            raise Invalid.field(pointer, f"Must name {_CALLED[kind]}.")
        if key == service:
            raise Invalid.field(pointer, "Must be another one than the rule's own.")
        stored[kind] = key.partition(":")[2]
    return stored
