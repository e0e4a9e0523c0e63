"""Lists in pages for what people browse, and cursors for what only grows."""

import base64
import binascii
import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, cast

from marshmallow import Schema, fields
from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from control_plane.core.errors import Invalid
from control_plane.core.schemas import Order, Search

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Page(Generic[Item]):
    """One page of a list, and how many items the whole list has."""

    items: Sequence[Item]
    total: int


def page(session: Session, statement: Select[Item], page: int, page_size: int) -> Page[Item]:
    """Return page number *page* (from 1) of what *statement*, which must be ordered, selects."""
    counted = select(func.count()).select_from(statement.order_by(None).subquery())
    rows: Sequence[Item] = session.scalars(
        cast("Any", statement).limit(page_size).offset((page - 1) * page_size)
    ).all()
    return Page(items=rows, total=session.scalar(counted) or 0)


def batches(
    session: Session, statement: Select[Item], key: InstrumentedAttribute[Any], size: int = 500
) -> Iterator[Sequence[Item]]:
    """Yield the rows that *statement* selects, some at a time, in the order of *key*, a unique one.

    Between two batches the transaction may end.
    """
    query = statement.order_by(None).order_by(key).limit(size)
    rows = session.scalars(query).all()
    while rows:
        last = getattr(rows[-1], key.key)
        yield rows
        rows = session.scalars(query.where(key > last)).all()


def keys_after(
    session: Session,
    column: InstrumentedAttribute[Any],
    after: str | None,
    limit: int,
    *conditions: ColumnElement[bool],
) -> list[str]:
    """Return up to *limit* values of the unique *column* that come behind *after*, as texts."""
    query = select(column).where(*conditions).order_by(column).limit(limit)
    if after is not None:
        query = query.where(column > column.type.python_type(after))
    return [str(key) for key in session.scalars(query)]


def ordering(entity: Any, order: Order) -> list[Any]:
    """Return how to sort rows of *entity* by *order*, the oldest first where that does not tell."""
    columns = [(getattr(entity, name), descends) for name, descends in order]
    asked = [(each.desc() if descends else each.asc()).nulls_last() for each, descends in columns]
    return [*asked, entity.id]


def matching(entity: Any, search: Search) -> ColumnElement[bool]:
    """Return the condition that a row of *entity* has the text in one of the attributes."""
    looked_into = (getattr(entity, name) for name in search.attributes)
    return or_(*(each.icontains(search.text, autoescape=True) for each in looked_into))


class PaginationSchema(Schema):
    """What the header X-Pagination says, as JSON."""

    total = fields.Integer(metadata={"description": "Items in the whole list."})
    total_pages = fields.Integer(data_key="totalPages")
    first_page = fields.Integer(data_key="firstPage")
    last_page = fields.Integer(data_key="lastPage")
    page = fields.Integer(metadata={"description": "This page, if the list has it."})
    previous_page = fields.Integer(data_key="previousPage")
    next_page = fields.Integer(data_key="nextPage")
    next_cursor = fields.String(
        data_key="nextCursor", metadata={"description": "Where a list without pages goes on."}
    )


def pagination_header(total: int, page: int, page_size: int) -> str:
    """Return the header X-Pagination for page number *page* of *total* items."""
    last = -(-total // page_size)
    position = {"total": total, "total_pages": last}
    if last:
        position |= {"first_page": 1, "last_page": last}
    if page <= last:
        position["page"] = page
    if 1 < page <= last:
        position["previous_page"] = page - 1
    if page < last:
        position["next_page"] = page + 1
    return json.dumps(PaginationSchema().dump(position))


def cursor_header(next_cursor: str | None) -> str:
    """Return the header X-Pagination for a list that goes on at *next_cursor*, None at its end."""
    return json.dumps({} if next_cursor is None else {"nextCursor": next_cursor})


def encode_cursor(position: Sequence[str | int]) -> str:
    """Return *position* (the sort key of the last item shown) as an opaque text."""
    raw = json.dumps(list(position), separators=(",", ":")).encode("utf-8")
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def decode_cursor(cursor: str, *kinds: type[str] | type[int]) -> list[Any]:
    """Return the position in *cursor*, whose parts must be of *kinds*.

    Raises:
        Invalid: it is not a cursor of ours.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        position = None
    if not isinstance(position, list) or [type(part) for part in position] != list(kinds):
        raise Invalid([{"pointer": "?cursor", "detail": "This cursor is not valid."}])
    return position
