"""What JSON bodies and query strings look like: camelCase outside, snake_case inside, strict."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from apispec.ext.marshmallow import resolver
from marshmallow import RAISE, ValidationError, fields, pre_load, validate, validates_schema
from marshmallow import Schema as MarshmallowSchema

from control_plane.contract import camel_case
from control_plane.core import field_rights

_MAX_PAGE = 1_000_000
_MAX_PAGE_SIZE = 100

Order = Sequence[tuple[str, bool]]
"""How to sort a list: names of attributes, each with whether it descends."""


@dataclasses.dataclass(frozen=True)
class Search:
    """A text to look for, in upper or lower case, and the attributes to look in."""

    text: str
    attributes: Sequence[str]


class Schema(MarshmallowSchema):
    """Base of what JSON bodies look like: camelCase outside, snake_case inside, strict types.

    Fields that the actor's role keeps from him are not dumped, and refused when they are loaded.
    """

    resource: ClassVar[str | None]
    """What the fields are of, as roles name it: `tenant`, in `tenant.contactEmail`. Forms say the
    same as what they make. None: they come and go with what holds them, or belong to nobody."""
    always_shown: ClassVar[frozenset[str]] = frozenset({"id"})
    """Fields that roles cannot keep from anybody, because paths, headers and cursors show them."""

    class Meta:
        """An unknown field is an error that names it."""

        unknown = RAISE

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not hasattr(cls, "resource"):
            raise TypeError(f"{cls.__name__} must say of which resource its fields are, or None.")

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Return *obj* as JSON, as far as the actor may see it."""
        dumped: Any = super().dump(obj, many=many)
        in_list = self.many if many is None else many
        field_rights.limit(self, self.resource, dumped if in_list else [dumped])
        return dumped

    def load(self, data: Any, **options: Any) -> Any:
        """Return what JSON says.

        Raises:
            ApiError: it names fields that the actor may not write.
            ValidationError: it breaks a rule.
        """
        field_rights.refuse_unwritable(self, data)
        return super().load(data, **options)

    def check_whole(self, values: Mapping[str, Any]) -> None:
        """Refuse *values* that do not go together, each of them good by itself; for forms to say.

        Raises:
            ValidationError: it names the field to change.
        """

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Name the field on the wire."""
        field_obj.data_key = camel_case(field_obj.data_key or field_name)

    @validates_schema
    def _check_whole(self, values: Mapping[str, Any], *, partial: object, **_: Any) -> None:
        if not partial:  # else `merge_patch.replaced` does, which knows the rest
            self.check_whole(values)

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

    resource: ClassVar[str | None] = None
    """What is listed: a parameter that is named as a field of it filters by that field."""

    class Meta:
        """An unknown parameter is an error that names it."""

        unknown = RAISE

    def load(self, data: Any, **options: Any) -> Any:
        """Return what the query says.

        Raises:
            ApiError: it asks for things by a field that the actor does not see.
            ValidationError: it breaks a rule.
        """
        for name in data:
            field_rights.refuse_unseen(self.resource, [name], f"?{name}")
        return super().load(data, **options)

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
        field_rights.refuse_unseen(_listed(self), (name for name, _ in order), "?sort")
        return [(self._attributes[name], descends) for name, descends in order]


class SearchField(fields.String):
    """A query parameter with a part of one of some fields; loads as a `Search`.

    Fields are named as for `SortField`. Those that the actor does not see are not looked into.
    """

    def __init__(self, *names: str, maximum: int, **attributes: str) -> None:
        self._attributes = {**{name: _snake_case(name) for name in names}, **attributes}
        looked_into = " or ".join(f"`{name}`" for name in self._attributes)
        super().__init__(
            load_default=None,
            validate=lambda search: validate.Length(1, maximum)(search.text),
            metadata={
                "description": f"A part of {looked_into}.",
                "minLength": 1,
                "maxLength": maximum,
            },
        )

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        seen = {
            name: attribute
            for name, attribute in self._attributes.items()
            if field_rights.is_seen(_listed(self), name)
        }
        if not seen:
            field_rights.refuse_unseen(_listed(self), self._attributes, f"?{self.data_key}")
        return Search(super()._deserialize(value, *args, **kwargs), list(seen.values()))


def as_answer(schema: Any) -> Any:
    """Return *schema* as an answer has it: any field may be kept from somebody, so none must be."""
    if isinstance(schema, type):
        schema = schema()
    if isinstance(schema, MarshmallowSchema):
        required = tuple(name for name, field in schema.fields.items() if field.required)
        schema.partial = required or schema.partial
    return schema


def name_of(schema: Any) -> str:
    """Return what OpenAPI calls *schema*: a patch is named apart from the whole that it changes."""
    name: str = resolver(schema)
    is_patch = getattr(schema, "partial", None) is True
    return name.removesuffix("Update") + "Patch" if is_patch else name


def _listed(parameter: fields.Field[Any]) -> str | None:
    """Return the resource that a query with *parameter* lists."""
    return cast("QuerySchema", parameter.parent).resource


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
