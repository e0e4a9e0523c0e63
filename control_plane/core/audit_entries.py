"""What is recorded of a row: which columns are shown, whose it is, and what it is called.

A mapped class is audited unless it says `audited = False` (see `core.tables.Base`); a column is
shown unless its `info` is `SECRET` or `UNAUDITED`, or it is encrypted.
"""

import dataclasses
import enum
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, cast

from sqlalchemy import Column, select
from sqlalchemy.orm import Mapper, Session

from control_plane.contract import camel_case
from control_plane.core.plain import plain
from control_plane.core.tenancy import TenantFiltered
from control_plane.core.types import EncryptedText

SECRET = {"audit": "secret"}
"""`info` of a column that is never shown: only that it changed."""

UNAUDITED = {"audit": "nothing"}
"""`info` of a column whose change says nothing, as when something was last used."""

HIDDEN = "[hidden]"

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Action(enum.StrEnum):
    """What was done."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    CALL = "call"
    """An operation that leaves no trace in what is audited, such as sending a mail again."""
    REVEAL = "reveal"
    """A secret, or all that is kept of a tenant, was shown."""


class Outcome(enum.StrEnum):
    """How it ended."""

    DONE = "done"
    REFUSED = "refused"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One thing to record; who did it, and in the course of what, is the occasion's matter."""

    action: Action
    tenant_id: uuid.UUID | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    outcome: Outcome = Outcome.DONE


def resource_type(entity: type[Any]) -> str:
    """Return what the audit log calls rows of *entity*: `api_key` for `APIKey`."""
    return _WORDS.sub("_", entity.__name__).lower()


def entry_of(
    session: Session,
    action: Action,
    mapper: Mapper[Any],
    columns: Mapping[str, Any],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> Entry:
    """Return what to record of a row that has, or had, *columns*."""
    key = [columns["id"]] if "id" in columns else [columns[name] for name in key_names(mapper)]
    return Entry(
        action=action,
        tenant_id=_tenant_of(session, mapper, columns),
        resource_type=resource_type(mapper.class_),
        resource_id="/".join(map(str, key)),
        before={camel_case(name): value for name, value in before.items()} or None,
        after={camel_case(name): value for name, value in after.items()} or None,
    )


def _tenant_of(
    session: Session, mapper: Mapper[Any], columns: Mapping[str, Any]
) -> uuid.UUID | None:
    """Return whose row it is: its own tenant's, or that of the row that it hangs on."""
    if issubclass(mapper.class_, TenantFiltered):
        own = "tenant_id" if "tenant_id" in columns else "id"
        return cast("uuid.UUID | None", columns[own])
    for prop in mapper.column_attrs:
        for key in prop.columns[0].foreign_keys:
            parents = [
                m.class_ for m in mapper.registry.mappers if m.local_table is key.column.table
            ]
            if parents and issubclass(parents[0], TenantFiltered):
                with session.no_autoflush:
                    query = select(parents[0].tenant_id).where(
                        getattr(parents[0], key.column.key) == columns[prop.key]
                    )
                    return cast("uuid.UUID | None", session.scalar(query))
    return None


def shown(mapper: Mapper[Any]) -> Iterator[tuple[str, Column[Any]]]:
    """Yield name and column of each attribute whose change is recorded."""
    for prop in mapper.column_attrs:
        column = cast("Column[Any]", prop.columns[0])
        if column.info.get("audit") != UNAUDITED["audit"]:
            yield prop.key, column


def is_secret(column: Column[Any]) -> bool:
    """Tell whether values of *column* must never be shown."""
    return column.info.get("audit") == SECRET["audit"] or isinstance(column.type, EncryptedText)


def told(column: Column[Any], value: Any) -> Any:
    """Return *value* as it is recorded."""
    return HIDDEN if value is not None and is_secret(column) else plain(value)


def key_names(mapper: Mapper[Any]) -> list[str]:
    """Return the attributes of the primary key."""
    return [mapper.get_property_by_column(column).key for column in mapper.primary_key]
