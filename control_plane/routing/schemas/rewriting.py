"""Which paths a route takes and what becomes of them, on the wire."""

import re
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from control_plane.contract.documents import PATH_KINDS
from control_plane.core.api import Schema
from control_plane.routing import patterns
from control_plane.routing.schemas.parts import path_problem

_RESERVED = re.compile(r"/(v1|\.yumen)(/.*)?|/\.well-known/yumen(/.*)?|/livez|/readyz", re.DOTALL)
"""Paths that the gateway answers itself, before any route of a tenant."""
_REPLACEMENT = re.compile(r"/[A-Za-z0-9._~@:+,=$/-]*")
_LONGEST = 512


class RoutePathSchema(Schema):
    """Which paths a route takes."""

    resource = None
    kind = fields.String(required=True, validate=validate.OneOf(PATH_KINDS))
    value = fields.String(
        required=True,
        validate=validate.Length(1, _LONGEST),
        metadata={
            "description": "`exact`: the path. `prefix`: its beginning, up to a / or its end. "
            "`regex`: a pattern for the whole path.",
            "example": "/api",
        },
    )

    @validates_schema(skip_on_field_errors=True)
    def _can_be(self, data: dict[str, Any], **_: Any) -> None:
        value = data["value"]
        if data["kind"] == "regex":
            problem = patterns.problem(value) if value[0] == "/" else "must begin with /"
        elif _RESERVED.fullmatch(value):
            problem = "is the gateway's own: /v1, /.yumen, /.well-known/yumen, /livez, /readyz"
        else:
            problem = path_problem(value)
        if problem is not None:
            raise ValidationError(f"The path {problem}.", "value")


class RewriteSchema(Schema):
    """The path that the upstream gets: a new one, or the old one changed by a pattern."""

    resource = None
    path = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, _LONGEST),
        metadata={
            "description": "In the place of the path, of a prefix route in that of the beginning."
        },
    )
    pattern = fields.String(
        load_default=None,
        allow_none=True,
        metadata={"description": "Its first match in the path is replaced."},
    )
    replacement = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, _LONGEST),
        metadata={"description": "$1 to $9 are groups of the pattern."},
    )

    @validates_schema(skip_on_field_errors=True)
    def _fits_together(self, data: dict[str, Any], **_: Any) -> None:
        path, pattern, replacement = data["path"], data["pattern"], data["replacement"]
        if (path is None) is (pattern is None):
            raise ValidationError("Must be given when `pattern` is not, and only then.", "path")
        if (pattern is None) is not (replacement is None):
            raise ValidationError("Stands beside `pattern`, and only there.", "replacement")
        if path is not None:
            _refuse("path", path_problem(path))
        else:
            _refuse("pattern", patterns.problem(pattern, patterns.MOST_WAYS_ANYWHERE))
            _refuse("replacement", _replacement_problem(pattern, replacement))


def _replacement_problem(pattern: str, replacement: str) -> str | None:
    if not _REPLACEMENT.fullmatch(replacement):
        return "must begin with / and have letters, digits and . _ ~ @ : + , = - / $ only"
    # The leading / keeps what a rewritten path begins with from being the client's choice.
    for group in re.findall(r"\$(.?)", replacement):
        if not group.isdigit() or not 1 <= int(group) <= patterns.groups(pattern):
            return f"names the group ${group}, and the pattern has {patterns.groups(pattern)}"
    return None


def _refuse(field: str, problem: str | None) -> None:
    if problem is not None:
        raise ValidationError(f"The {field} {problem}.", field)
