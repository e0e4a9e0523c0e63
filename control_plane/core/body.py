"""Reads JSON bodies and query strings strictly: what gets in can be stored and shown."""

import json
from collections.abc import Iterable
from typing import Any

from flask import Request
from marshmallow import Schema, missing
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from control_plane.core import field_rights
from control_plane.core.errors import ApiError, Invalid

_MAX_DEPTH = 32


class StrictParser(FlaskParser):
    """Refuses what is not JSON, names a field twice, or holds text a database cannot keep."""

    # webargs would pass over unknown query parameters; the schema decides instead.
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {}  # noqa: RUF012 - as in webargs

    def _get_schema(self, argmap: Any, req: Request) -> Schema:
        """Return the schema; that of a PUT leaves alone what the actor may not write.

        What such a body does not name is neither missed nor given its default: it stays.
        """
        schema = super()._get_schema(argmap, req)
        if req.method != "PUT":
            return schema
        kept = field_rights.unwritable(schema, getattr(schema, "resource", None))
        return type(schema)(partial=tuple(kept)) if kept else schema

    def load_json(self, req: Request, schema: Schema) -> Any:  # noqa: ARG002 - webargs' signature
        """Return the body's JSON value.

        Raises:
            ApiError: it is not JSON (400), or is sent as something else (415).
            Invalid: a text holds NUL or half a character.
        """
        body = req.get_data(cache=True)
        if not body:
            return missing
        if req.content_length is None and len(body) == req.max_content_length:
            # Werkzeug cuts a chunked body at the limit without a word.
            raise RequestEntityTooLarge
        if not req.is_json:
            raise ApiError(415, "unsupported_media_type", "Send the body as application/json.")
        value = parse_json(body)
        _refuse_bad_text(value)
        return value

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """Return the query's parameters.

        Raises:
            Invalid: a parameter is there twice, or holds NUL or half a character.
        """
        for name, values in req.args.lists():
            if len(values) > 1:
                raise Invalid([{"pointer": f"?{name}", "detail": "Given more than once."}])
            if not _is_text(name) or not _is_text(values[0]):
                raise Invalid([{"pointer": "?", "detail": "The query is not valid text."}])
        return super().load_querystring(req, schema)


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text, as every JSON reader would see it.

    Raises:
        ApiError: it is not JSON, an object names a field twice, or a number is not finite.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "malformed_json", "The body is not valid JSON.") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("An object names a field twice.")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")


def _refuse_bad_text(value: Any) -> None:
    """Walk *value*, which may be nested deeply, without recursion."""
    waiting: list[tuple[str, Any, int]] = [("#", value, 0)]
    while waiting:
        pointer, item, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise Invalid([{"pointer": pointer, "detail": "Nested too deeply."}])
        if isinstance(item, str) and not _is_text(item):
            detail = "Text must not hold NUL or half a character."
            raise Invalid([{"pointer": pointer, "detail": detail}])
        if isinstance(item, dict | list):
            waiting.extend(
                (f"{pointer}/{_escaped(key)}", inner, depth + 1) for key, inner in _items(item)
            )
            waiting.extend((pointer, key, depth) for key in item if isinstance(item, dict))


def _items(container: dict[str, Any] | list[Any]) -> Iterable[tuple[str | int, Any]]:
    return container.items() if isinstance(container, dict) else enumerate(container)


def _escaped(key: str | int) -> str:
    """Return *key* as a JSON Pointer names it, and as an answer can carry it."""
    text = str(key).replace("~", "~0").replace("/", "~1")
    return text.encode("utf-8", "replace").decode("utf-8")


def _is_text(value: str) -> bool:
    """Tell whether both databases can keep *value*."""
    if "\x00" in value:
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
