"""What JSON bodies and query strings look like: camelCase outside, snake_case inside, strict."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from apispec.ext.marshmallow import resolver
from marshmallow import RAISE, ValidationError, fields, pre_load, validate
from marshmallow import Schema as MarshmallowSchema

from control_plane.contract import camel_case

_MAX_PAGE = 1_000_000
_MAX_PAGE_SIZE = 100

Order = Sequence[tuple[str, bool]]
"""How to sort a list: names of attributes, each with whether it descends."""


class Schema(MarshmallowSchema):
    """Base of what JSON bodies look like: camelCase outside, snake_case inside, strict types."""

    class Meta:
        """An unknown field is an error that names it."""

        unknown = RAISE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Name the field on the wire."""
        field_obj.data_key = camel_case(field_obj.data_key or field_name)

    @pre_load
    def _refuse_other_types(self, data: Any, **_: Any) -> Any:
        """Refuse what marshmallow would convert: "1" or true for a number, 1 for a boolean."""
        if not isinstance(data, Mapping):
            return data
        errors = {
            field.data_key: ["Not of the right type."]
            for field in self.load_fields.values()
            if not _is_of_type(field, data.get(cast("str", field.data_key)))
        }
        if errors:
            raise ValidationError(cast("Any", errors))
        return data


class QuerySchema(MarshmallowSchema):
    """Base of what query strings look like; use with `location="query"`."""

    class Meta:
        """An unknown parameter is an error that names it."""

        unknown = RAISE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Name the parameter on the wire."""
        field_obj.data_key = camel_case(field_obj.data_key or field_name)


class PageQuerySchema(QuerySchema):
    """Which page of a list; a list with filters or with `sort` adds its own fields."""

    page = fields.Integer(load_default=1, validate=validate.Range(1, _MAX_PAGE))
    page_size = fields.Integer(load_default=10, validate=validate.Range(1, _MAX_PAGE_SIZE))


class SortField(fields.String):
    """The query parameter `sort`: names of fields separated by commas, `-` before one descends.

    Each allowed name is a wire name whose attribute is its snake_case form, or a keyword that
    names another attribute: `SortField("name", creationDate="created_at")`.
    """

    def __init__(self, *names: str, **attributes: str) -> None:
        self._attributes = {**{name: _snake_case(name) for name in names}, **attributes}
        known = ", ".join(f"`{name}`" for name in self._attributes)
        description = f"Names of {known}, separated by commas; `-` before a name descends."
        super().__init__(load_default=[], metadata={"description": description})

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        names = super()._deserialize(value, *args, **kwargs).split(",")
        order = [(name.removeprefix("-"), name.startswith("-")) for name in names]
        if any(name not in self._attributes for name, _ in order):
            raise ValidationError(f"Must be names of {', '.join(self._attributes)}.")
        if len({name for name, _ in order}) < len(order):
            raise ValidationError("Must name each field once.")
        return [(self._attributes[name], descends) for name, descends in order]


def name_of(schema: Any) -> str:
    """Return what OpenAPI calls *schema*: a patch is named apart from the whole that it changes."""
    name: str = resolver(schema)
    return name.removesuffix("Update") + "Patch" if getattr(schema, "partial", None) else name


def _snake_case(name: str) -> str:
    return re.sub("[A-Z]", lambda match: "_" + match[0].lower(), name)


def _is_of_type(field: fields.Field[Any], value: Any) -> bool:
    """Tell whether a JSON value is of the field's own type, before any conversion."""
    if value is None:
        return True
    if isinstance(field, fields.Boolean | fields.Integer):
        return type(value) is (bool if isinstance(field, fields.Boolean) else int)
    if isinstance(field, fields.List) and isinstance(value, list):
        return all(_is_of_type(field.inner, item) for item in value)
    if isinstance(field, fields.Mapping) and isinstance(value, Mapping) and field.value_field:
        return all(_is_of_type(field.value_field, item) for item in value.values())
    return True
