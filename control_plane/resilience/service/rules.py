"""What circuit breakers and degradation rules have in common: owner, name and service."""

import uuid
from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core import pagination
from control_plane.core.errors import Conflict
from control_plane.core.pagination import Page
from control_plane.core.schemas import Order
from control_plane.resilience.models import ServiceRule
from control_plane.resilience.service import services

MOST_OF_A_SERVICE = 20
"""Of a tenant, or of the platform: gateways hold a service's rules in one document."""
BOUND = f"A service may have {MOST_OF_A_SERVICE} of one owner."

Rule = TypeVar("Rule", bound=ServiceRule)


def find_rule(session: Session, entity: type[Rule], rule_id: uuid.UUID) -> Rule | None:
    """Return a rule that the current scope may see, None when there is none."""
    rule = session.scalar(select(entity).where(entity.id == rule_id))
    return None if rule is None else named(session, [rule])[0]


def list_rules(
    session: Session,
    entity: type[Rule],
    *,
    page: int,
    page_size: int,
    sort: Order = (),
    tenant_id: uuid.UUID | None = None,
) -> Page[Rule]:
    """Return the rules that the current scope may see, by name or by *sort*."""
    query = select(entity)
    if tenant_id is not None:
        owner = tenants.get_tenant(session, tenant_id).id
        query = query.where(entity.tenant_id == owner)
    query = query.order_by(*pagination.ordering(entity, sort or [("name", False)]))
    found = pagination.page(session, query, page, page_size)
    return Page(items=named(session, found.items), total=found.total)


def rules_of(entity: type[Rule], tenant_id: uuid.UUID | None) -> Select[Rule]:
    """Return the query for the rules of a tenant, None for the platform's, the oldest first."""
    return select(entity).where(entity.tenant_id == tenant_id).order_by(entity.id)


def named(session: Session, rules: Sequence[Rule]) -> Sequence[Rule]:
    """Return *rules*, which say what their services are called."""
    names = services.names_of(session, {key for rule in rules for key in rule.services})
    for rule in rules:
        rule.name_services(names)
    return rules


def key_of(
    session: Session, owner: uuid.UUID | None, name: str, *, before: str | None, pointer: str
) -> str:
    """Return the key of the service that *name* names for *owner*.

    *before* is the key that stood there: one whose service is gone can be kept, by that key.

    Raises:
        Invalid: there is none, or there are several; it names the field *pointer*.
    """
    if before and name == services.names_of(session, [before])[before]:
        return before
    return services.key_of(session, owner, name, pointer=pointer)


def save(session: Session, rule: Rule, *, taken: Conflict, too_many: Conflict) -> Rule:
    """Write a rule to the database.

    Raises:
        Conflict: *taken*, when its owner has one of this name; *too_many* for this service.
    """
    session.add(rule)
    try:
        session.flush()
    except IntegrityError as error:
        raise taken from error
    entity = type(rule)
    siblings = rules_of(entity, rule.tenant_id).where(entity.service == rule.service)
    if (session.scalar(select(func.count()).select_from(siblings.subquery())) or 0) > (
        MOST_OF_A_SERVICE
    ):
        raise too_many
    return named(session, [rule])[0]
