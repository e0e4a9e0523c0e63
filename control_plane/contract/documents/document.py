"""What every document schema is made of.

A reader ignores what it does not know and a schema keeps it (`unknown = INCLUDE`), so that a newer
control plane never breaks an older gateway: within one contract version fields are only added.
"""

from typing import Any

from marshmallow import INCLUDE, Schema, fields, validate


def camel_case(name: str) -> str:
    """Return the wire form of a snake_case *name*: `cost_per_call` becomes `costPerCall`."""
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


class Document(Schema):
    """Base of every document: camelCase on the wire, unknown fields kept."""

    class Meta:  # noqa: D106 - marshmallow's own convention
        unknown = INCLUDE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Give each field its wire name."""
        field_obj.data_key = camel_case(field_obj.data_key or field_name)


def whole(pattern: str) -> validate.Regexp:
    """Match a whole string in Python, PCRE and ECMAScript (Python's `$` lets a newline pass)."""
    return validate.Regexp(f"^{pattern}$(?!\\n)")


UUID = whole("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DECIMAL = whole(r"[0-9]{1,20}(\.[0-9]{1,12})?")
NETWORK = whole("[0-9a-f:.]{2,45}/[0-9]{1,3}")


def uuid(description: str) -> fields.String:
    """Return a required UUID."""
    return fields.String(required=True, validate=UUID, metadata={"description": description})


def decimal(description: str) -> fields.String:
    """Return a required decimal number, as a string."""
    return fields.String(required=True, validate=DECIMAL, metadata={"description": description})


def end(description: str) -> fields.Integer:
    """Return an optional second of Unix time."""
    return fields.Integer(allow_none=True, load_default=None, metadata={"description": description})


def scope(description: str, validator: validate.Validator) -> fields.List[Any]:
    """Return a list that allows what it names; null, as before there were lists, allows all."""
    return fields.List(
        fields.String(validate=validator),
        allow_none=True,
        load_default=None,
        metadata={"description": description},
    )


def raw_json(description: str) -> fields.Dict:
    """Return a required map of names to raw JSON texts."""
    return fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": description},
    )
