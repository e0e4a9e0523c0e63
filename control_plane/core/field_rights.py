"""Which fields an actor sees and changes; schemas ask this on the way out and in.

What an actor gets less of than his permissions say stands in `auth.Actor.fields`.
"""

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from marshmallow import Schema, fields

from control_plane.contract import camel_case
from control_plane.core import auth
from control_plane.core.auth import Access
from control_plane.core.errors import ApiError

Mask = Callable[[str], str]


def wire_name(attribute: str, field: fields.Field[Any]) -> str:
    """Return what a field of a schema is called on the wire."""
    return camel_case(field.data_key or attribute)


@functools.cache
def masks_of(schema: type[Schema]) -> Mapping[str, Mask]:
    """Return how the contact data among a schema's fields is masked, by wire name."""
    declared: Mapping[str, fields.Field[Any]] = schema._declared_fields  # noqa: SLF001
    return {
        wire_name(attribute, field): field.metadata["mask"]
        for attribute, field in declared.items()
        if "mask" in field.metadata
    }


def limit(schema: Schema, resource: str | None, objects: Iterable[dict[str, Any]]) -> None:
    """Take out of *objects*, as *schema* has dumped them, what the actor may not see."""
    limits = auth.limits_on(resource)
    if not limits:
        return
    masks = masks_of(type(schema))
    for each in objects:
        for name, access in limits.items():
            if access.shows or name not in each:
                continue
            if access is Access.NONE or name not in masks:
                del each[name]
            elif each[name] is not None:
                each[name] = masks[name](each[name])


def unwritable(schema: Schema, resource: str | None) -> Collection[str]:
    """Return the attributes of *schema* that the actor may not write."""
    limits = auth.limits_on(resource)
    return [
        attribute
        for attribute, field in schema.fields.items()
        if not limits.get(str(field.data_key), Access.WRITE).writes
    ]


def refuse_unwritable(schema: Schema, data: Any) -> None:
    """Refuse a body that names a field which the actor may not write.

    Raises:
        ApiError: it points at each of them.
    """
    actor = auth.find_actor()
    if actor is not None and actor.fields:
        _refuse(_unwritable_in(schema, data, "#/"), "You may not write this field.")


def is_seen(resource: str | None, name: str) -> bool:
    """Tell whether the actor sees the values of a field as they are."""
    return auth.limits_on(resource).get(name, Access.WRITE).shows


def unseen_names() -> frozenset[str]:
    """Return the names of the fields, of whatever resource, whose values the actor does not see."""
    actor = auth.find_actor()
    fields_kept = {} if actor is None else actor.fields
    return frozenset(
        name.partition(".")[2] for name, access in fields_kept.items() if not access.shows
    )


def refuse_unseen(resource: str | None, names: Iterable[str], pointer: str) -> None:
    """Refuse to find or to sort things by what the actor does not see of them.

    Raises:
        ApiError: it points at *pointer*, where the request named the fields.
    """
    if not all(is_seen(resource, name) for name in names):
        _refuse([pointer], "You may not see the field that this is about.")


def _unwritable_in(schema: Schema, data: Any, root: str) -> Iterator[str]:
    if not isinstance(data, Mapping):
        return
    limits = auth.limits_on(getattr(schema, "resource", None))
    for field in schema.load_fields.values():
        name = str(field.data_key)
        if name not in data:
            continue
        if name in limits and not limits[name].writes:
            yield root + name
        elif isinstance(field, fields.Nested):
            yield from _unwritable_in(field.schema, data[name], f"{root}{name}/")
        elif (
            isinstance(field, fields.List)
            and isinstance(field.inner, fields.Nested)
            and isinstance(data[name], list)
        ):
            for index, item in enumerate(data[name]):
                yield from _unwritable_in(field.inner.schema, item, f"{root}{name}/{index}/")


def _refuse(pointers: Iterable[str], detail: str) -> None:
    errors = [{"pointer": pointer, "detail": detail} for pointer in pointers]
    if errors:
        raise ApiError(
            422, "field_not_permitted", "Your role keeps a field of this from you.", errors
        )
