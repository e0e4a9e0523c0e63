"""What a room says of the objects that operators configure, so that all can be kept as text."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marshmallow import Schema
    from sqlalchemy.orm import InstrumentedAttribute, Session

Row = Any
Values = dict[str, Any]
Owner = Any
"""The id of a tenant, None for the platform; each kind knows whose objects its own can be."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of configured object: a section of the manifest.

    Sections are applied in the order in which rooms declare them, tenants last, and those of a
    tenant within the tenant. What `create`, `update` and `delete` raise as `ApiError` is shown
    beside the object.
    """

    section: str
    """Its name in the manifest, camelCase and plural."""
    schema: "type[Schema]"
    """What an object looks like: dumps a row, loads the values for `create` and `update`."""
    keys: tuple[str, ...]
    """Wire names of the fields that tell an object from others; the first that is given decides."""
    rows: Callable[["Session", Owner], Iterable[Row]]
    """Return what there is, of a tenant or (None) of the platform, in a lasting order."""
    create: Callable[["Session", Owner, Values], Row]
    update: Callable[["Session", Row, Values], object]
    delete: Callable[["Session", Row], object]
    of_platform: bool = True
    """Whether the section stands at the top of the manifest."""
    of_tenant: bool = False
    """Whether it stands in each tenant."""
    secrets: "Mapping[str, InstrumentedAttribute[Any]]" = dataclasses.field(default_factory=dict)
    """Wire names of secret fields, and what keeps them. A manifest only refers to them."""
    references: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Wire names (a dot leads inside) of fields with ids of objects of a platform-wide section; a
    manifest has the objects' last key instead."""
