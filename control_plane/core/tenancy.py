"""Keeps each tenant to his own rows: a filter on every ORM statement, and a check on every flush.

Code runs for one tenant (`tenant_context`) or for the platform (`platform_context`). With neither,
touching a tenant's table raises: forgetting the scope must not mean seeing everything.
"""

import contextlib
import enum
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import insert
from sqlalchemy.orm import (
    Mapped,
    Mapper,
    ORMExecuteState,
    Session,
    mapped_column,
    with_loader_criteria,
)
from sqlalchemy.sql import ClauseElement, visitors


class _Platform(enum.Enum):
    """The scope of the platform itself, to which every tenant is visible."""

    SCOPE = "platform"


Scope = uuid.UUID | _Platform

_scope: ContextVar[Scope | None] = ContextVar("yumen_tenancy_scope", default=None)


class TenancyError(RuntimeError):
    """Rows of tenants were touched without a scope, or across scopes: a mistake in our code."""


class TenantFiltered:
    """Base of mapped classes that are seen by their `tenant_id` only."""

    if TYPE_CHECKING:
        tenant_id: Any


class TenantScoped(TenantFiltered):
    """Base of mapped classes whose rows belong to one tenant."""

    tenant_id: Mapped[uuid.UUID] = mapped_column(index=True)


@contextlib.contextmanager
def tenant_context(tenant_id: uuid.UUID) -> Iterator[None]:
    """Run the block for one tenant."""
    with _scoped(tenant_id):
        yield


@contextlib.contextmanager
def platform_context() -> Iterator[None]:
    """Run the block for the platform, to which every tenant is visible."""
    with _scoped(_Platform.SCOPE):
        yield


@contextlib.contextmanager
def _scoped(scope: Scope) -> Iterator[None]:
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)


def current_tenant_id() -> uuid.UUID | None:
    """Return the tenant the code runs for, None for the platform.

    Raises:
        TenancyError: there is no scope.
    """
    scope = _current()
    return None if scope is _Platform.SCOPE else scope


def scope_text() -> str:
    """Return the scope as the database's policies read it: a tenant's id, `platform` or nothing."""
    scope = _scope.get()
    if scope is None:
        return ""
    return scope.value if isinstance(scope, _Platform) else str(scope)


def _current() -> Scope:
    scope = _scope.get()
    if scope is None:
        raise TenancyError("No tenant is set: enter tenant_context() or platform_context().")
    return scope


def filter_statement(state: ORMExecuteState) -> None:
    """Add the tenant's filter to an ORM statement (SQLAlchemy's `do_orm_execute`)."""
    if not any(_is_scoped(mapper) for mapper in state.all_mappers) and not _mentions_scoped(state):
        return
    tenant_id = current_tenant_id()
    if tenant_id is None:
        return
    if state.is_insert:
        _check_insert(state, tenant_id)
        return
    state.statement = state.statement.options(
        *(
            with_loader_criteria(entity, entity.tenant_id == tenant_id, include_aliases=True)
            for entity in _mapped(TenantFiltered)
        )
    )


def _check_insert(state: ORMExecuteState, tenant_id: uuid.UUID) -> None:
    """Refuse to insert rows in bulk, unless each of the rows given is said to be the tenant's."""
    rows = state.parameters if isinstance(state.parameters, list) else []
    statement = cast("ClauseElement", state.statement)
    is_plain = state.bind_mapper is not None and statement.compare(insert(state.bind_mapper))
    if not (rows and is_plain and all(row.get("tenant_id") == tenant_id for row in rows)):
        raise TenancyError("A tenant inserts in bulk only rows that name it: insert(T), [{...}].")


def _mapped(base: type[TenantFiltered]) -> Iterator[type[TenantFiltered]]:
    """Yield the mapped classes below *base*."""
    for entity in base.__subclasses__():
        if "__mapper__" in vars(entity):
            yield entity
        yield from _mapped(entity)


def _is_scoped(mapper: Mapper[Any]) -> bool:
    return issubclass(mapper.class_, TenantFiltered)


def _mentions_scoped(state: ORMExecuteState) -> bool:
    """Tell whether a subquery or a join of the statement reads a tenant's table."""
    for element in visitors.iterate(cast("ClauseElement", state.statement)):
        entity = getattr(element, "_annotations", {}).get("parententity")
        mapper = getattr(entity, "mapper", None)
        if mapper is not None and _is_scoped(mapper):
            return True
    return False


def check_flush(session: Session, *_: object) -> None:
    """Give new rows their tenant and refuse those of another (SQLAlchemy's `before_flush`)."""
    for row in (*session.new, *session.dirty, *session.deleted):
        if not isinstance(row, TenantFiltered):
            continue
        tenant_id = current_tenant_id()
        if tenant_id is None:
            continue
        if row.tenant_id is None and row in session.new:
            row.tenant_id = tenant_id
        if row.tenant_id != tenant_id:
            raise TenancyError(f"A {type(row).__name__} of another tenant may not be written.")
