"""What can be done with limits."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core import pagination, plugins
from control_plane.core.errors import Conflict, Invalid, NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.pagination import Page
from control_plane.core.schemas import Order, Search
from control_plane.limits.events import LimitsChanged
from control_plane.limits.models import Limit

MOST_LIMITS = 100
"""Of a tenant, and of the platform: the gateway looks at each of them for each request."""


def list_limits(
    session: Session,
    *,
    page: int,
    page_size: int,
    sort: Order = (),
    tenant_id: uuid.UUID | None = None,
    q: Search | None = None,
) -> Page[Limit]:
    """Return the limits that the current scope may see, the oldest first by default."""
    query = select(Limit)
    if tenant_id is not None:
        query = limits_of(tenants.get_tenant(session, tenant_id).id)
    if q is not None:
        query = query.where(pagination.matching(Limit, q))
    query = query.order_by(None).order_by(*pagination.ordering(Limit, sort))
    return pagination.page(session, query, page, page_size)


def get_limit(session: Session, limit_id: uuid.UUID) -> Limit:
    """Return a limit that the current scope may see.

    Raises:
        NotFound: there is none.
    """
    limit = session.scalar(select(Limit).where(Limit.id == limit_id))
    if limit is None:
        raise NotFound("limit")
    return limit


def create_limit(
    session: Session, values: Mapping[str, Any], *, tenant_id: uuid.UUID | None = None
) -> Limit:
    """Limit what passes of a tenant's requests, or without one of everybody's.

    Raises:
        NotFound: there is no such tenant.
        Invalid: it names what the tenant does not have, or cannot be of a tenant or of all.
        Conflict: its name is taken, or there are too many.
    """
    if tenant_id is not None:
        tenants.get_tenant(session, tenant_id, lock=True)
    _refuse_unknown(session, tenant_id, values, {})
    known = select(func.count()).select_from(limits_of(tenant_id).order_by(None).subquery())
    if (session.scalar(known) or 0) >= MOST_LIMITS:
        whose = "The platform" if tenant_id is None else "A tenant"
        raise Conflict("too_many_limits", f"{whose} may have {MOST_LIMITS} limits.")
    limit = Limit(id=new_id(), tenant_id=tenant_id, **values)
    session.add(limit)
    _flush(session)
    emit(session, LimitsChanged(tenant_id=tenant_id))
    return limit


def update_limit(session: Session, limit: Limit, values: Mapping[str, Any]) -> Limit:
    """Change a limit; what was used of it stays used.

    Raises:
        Invalid: it names what the tenant does not have, or cannot be of a tenant or of all.
        Conflict: its name is taken.
    """
    _refuse_unknown(session, limit.tenant_id, values, limit.match)
    for name, value in values.items():
        setattr(limit, name, value)
    _flush(session)
    emit(session, LimitsChanged(tenant_id=limit.tenant_id))
    return limit


def delete_limit(session: Session, limit: Limit) -> None:
    """Delete a limit; what it held back passes."""
    session.delete(limit)
    session.flush()
    emit(session, LimitsChanged(tenant_id=limit.tenant_id))


def delete_tenant_limits(session: Session, tenant_id: uuid.UUID, most: int) -> int:
    """Delete up to *most* limits of a tenant; return how many."""
    found = session.scalars(limits_of(tenant_id).limit(most)).all()
    for limit in found:
        delete_limit(session, limit)
    return len(found)


def limits_of(tenant_id: uuid.UUID | None) -> Select[Limit]:
    """Return the query for the limits of a tenant, or of the platform, the oldest first."""
    of_whom = Limit.tenant_id.is_(None) if tenant_id is None else Limit.tenant_id == tenant_id
    return select(Limit).where(of_whom).order_by(Limit.id)


def _refuse_unknown(
    session: Session,
    tenant_id: uuid.UUID | None,
    values: Mapping[str, Any],
    before: Mapping[str, Any],
) -> None:
    """Refuse what a limit of this tenant, or of all, cannot be about.

    What stood there before may stay: an object that is gone must not keep a limit from being
    changed.
    """
    errors: dict[str, str] = {}
    if tenant_id is not None and "platform" in values["scope"]:
        errors["scope"] = "`platform` is for a limit without `tenantId`."
    for name, value in values["match"].items():
        if value is None or value == before.get(name):
            continue
        if tenant_id is None and name != "model" and not value.startswith("/"):
            errors[f"match/{name}"] = "Is for a limit of one tenant: give its `tenantId`."
        elif not _is_known(session, tenant_id, name, value):
            whose = "of this tenant " if name != "model" else ""
            errors[f"match/{name}"] = f"There is no such {name} {whose}".rstrip() + "."
    if errors:
        raise Invalid([{"pointer": f"#/{at}", "detail": told} for at, told in errors.items()])


def _is_known(session: Session, tenant_id: uuid.UUID | None, name: str, value: str) -> bool:
    hook = plugins.manager().hook
    if name == "user" or value.startswith("/"):
        return True  # end users are known to their issuer only; endpoints to the schema
    wanted = uuid.UUID(value)
    if name == "model":
        return not hook.yumen_unknown_models(session=session, ids=frozenset({wanted}))
    return any(
        hook.yumen_tenant_has(session=session, tenant_id=tenant_id, kind=name, object_id=wanted)
    )


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict("limit_name_taken", "There is a limit of this name.") from error
