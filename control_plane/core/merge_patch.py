"""How PUT and PATCH change what is there.

PATCH is a JSON merge patch (RFC 7396): what is named changes, null takes a value away.
"""

from typing import Any

from marshmallow import ValidationError

from control_plane.core import auth, field_rights
from control_plane.core.errors import Invalid
from control_plane.core.problems import field_errors
from control_plane.core.schemas import Schema

MEDIA_TYPE = "application/merge-patch+json"


def merged(schema: type[Schema], current: Any, patch: dict[str, Any]) -> dict[str, Any]:
    """Return what *schema* loads from *current*, as it dumps it, changed by *patch*.

    Secrets, which are never dumped, are there only when the patch names them; null removes one.
    What the actor does not see, or may not write, stays as it is.

    Raises:
        ApiError: the patch names a field that the actor may not write.
        Invalid: the result breaks a rule of the schema.
    """
    writable = schema()
    field_rights.refuse_unwritable(writable, patch)
    secrets = [field for field in writable.load_fields.values() if field.load_only]
    removable = {str(field.data_key) for field in secrets if field.allow_none}
    try:
        with auth.seeing_all_fields():
            value = {
                name: value
                for name, value in writable.dump(current).items()
                if value is not None or _may_be_null(writable, name)
            }
            result = apply(value, patch)
            result |= {name: None for name in removable & patch.keys() if patch[name] is None}
            loaded: dict[str, Any] = writable.load(result)
    except ValidationError as error:
        raise Invalid(field_errors(error.messages)) from error
    return loaded


def replaced(schema: type[Schema], current: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Return *values* of a PUT together with what the actor may not write of *current*.

    Raises:
        Invalid: they do not go together.
    """
    form = schema()
    kept = field_rights.unwritable(form, form.resource)
    if not kept:
        return values
    names = [form.fields[name].attribute or name for name in kept]
    whole = {name: getattr(current, name) for name in names} | values
    try:
        form.check_whole(whole)
    except ValidationError as error:
        raise Invalid(field_errors(error.messages)) from error
    return whole


def apply(target: Any, patch: Any) -> Any:
    """Return *target* changed by *patch*, as RFC 7396 §2 has it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply(result.get(name), value)
    return result


def _may_be_null(schema: Schema, wire_name: str) -> bool:
    fields = schema.fields.values()
    return any(field.allow_none for field in fields if field.data_key == wire_name)
