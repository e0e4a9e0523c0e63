"""Section `routes`."""

from typing import Any

from marshmallow import fields, validate

from control_plane.contract.documents.document import NETWORK, Document, scope, uuid

PATH_KINDS = ("exact", "prefix", "regex")
AUTHENTICATION = ("key", "jwt")


def _flag(description: str) -> fields.Boolean:
    return fields.Boolean(required=True, metadata={"description": description})


def _texts(description: str, *validators: validate.Validator) -> fields.List[Any]:
    return fields.List(
        fields.String(validate=list(validators)),
        required=True,
        metadata={"description": description},
    )


def _limit(description: str) -> fields.Integer:
    return fields.Integer(
        required=True,
        allow_none=True,
        validate=validate.Range(min=0),
        metadata={"description": description},
    )


def _seconds(description: str, *, allow_none: bool = False) -> fields.Float:
    return fields.Float(
        required=True,
        allow_none=allow_none,
        validate=validate.Range(min=0.001),
        metadata={"description": description},
    )


class RoutePathDocument(Document):
    """Which paths a route takes."""

    kind = fields.String(required=True, validate=validate.OneOf(PATH_KINDS))
    value = fields.String(
        required=True,
        validate=validate.Length(1, 1024),
        metadata={
            "description": "The path, or its beginning up to a `/` or its end, or a pattern (PCRE) "
            "that the whole path must match."
        },
    )


class RouteHeaderDocument(Document):
    """A header that a request must have."""

    name = fields.String(
        required=True,
        validate=validate.Length(1, 64),
        metadata={"description": "Lower case."},
    )
    value = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "What it must be, whole; null: it must only be there."},
    )


class RewriteDocument(Document):
    """Which path the upstream gets: `path` instead of what matched, or by pattern."""

    path = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "Replaces the path of an exact or regex route, the matched beginning of "
            "a prefix route."
        },
    )
    pattern = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Its first match in the path is replaced; null when `path` is."},
    )
    replacement = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "May name groups of the pattern as $1 to $9."},
    )


class HeaderChangesDocument(Document):
    """What is done to headers: removed first, then set."""

    set = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": "Header to its value; what was there is replaced."},
    )
    remove = _texts("Names of headers.")


class TimeoutsDocument(Document):
    """How long each part of a call may take, in seconds."""

    connect = _seconds("Until there is a connection to a target.")
    send = _seconds("Between two parts of the request that the upstream takes.")
    first_byte = _seconds("From the request's end to the answer's head.")
    between_bytes = _seconds("Between two parts of the answer.")
    total = _seconds("The whole call; null is no limit.", allow_none=True)


class WebSocketDocument(Document):
    """Whether a connection may become a WebSocket."""

    enabled = _flag("Whether requests to upgrade are passed on.")
    max_age = _seconds("Seconds after which it is ended; null is no limit.", allow_none=True)


class CorsDocument(Document):
    """What browsers are told that ask for pages of other origins."""

    allow_origins = _texts("Origins such as https://app.example.com; * is all.")
    allow_methods = _texts("Methods; [] is those of the route, and of it without any all.")
    allow_headers = _texts("Request headers; * is all that are asked for.")
    expose_headers = _texts("Answer headers that scripts may read.")
    allow_credentials = _flag("Whether cookies and credentials may come along.")
    max_age = fields.Integer(
        required=True, metadata={"description": "Seconds for which the answer holds."}
    )


class RouteDocument(Document):
    """One of a tenant's own routes."""

    id = uuid("The route's own id.")
    name = fields.String(
        required=True,
        validate=validate.Length(1, 100),
        metadata={"description": "Unique in the tenant; usage shows it as the endpoint."},
    )
    priority = fields.Integer(
        required=True, metadata={"description": "The higher is asked first; see the order."}
    )
    domains = _texts("Host names at which it is there; [] is all of the tenant's.")
    path = fields.Nested(RoutePathDocument, required=True)
    methods = scope("Methods that it takes; null is all.", validate.Length(1, 16))
    headers = fields.List(
        fields.Nested(RouteHeaderDocument),
        required=True,
        metadata={"description": "Headers that a request must have, all of them."},
    )
    upstream = uuid("The id of the document in section upstreams.")
    strip_prefix = _flag("Whether the matched beginning is taken off the path; prefix routes only.")
    rewrite = fields.Nested(
        RewriteDocument,
        required=True,
        allow_none=True,
        metadata={"description": "Null leaves the path as it is; never beside stripPrefix."},
    )
    request_headers = fields.Nested(HeaderChangesDocument, required=True)
    response_headers = fields.Nested(HeaderChangesDocument, required=True)
    max_request_bytes = _limit("Longest body of a request; null is the gateway's own limit.")
    max_response_bytes = _limit("Longest body of an answer; null is no limit.")
    timeouts = fields.Nested(TimeoutsDocument, required=True)
    web_socket = fields.Nested(WebSocketDocument, required=True)
    cors = fields.Nested(
        CorsDocument,
        required=True,
        allow_none=True,
        metadata={"description": "Null leaves CORS to the upstream."},
    )
    allow_addresses = _texts("Networks (CIDR) it may be called from; [] is all.", NETWORK)
    deny_addresses = _texts("Networks (CIDR) it may not be called from; they win.", NETWORK)
    authentication = fields.List(
        fields.String(validate=validate.OneOf(AUTHENTICATION)),
        required=True,
        metadata={"description": "What is taken: `key`, `jwt`; [] asks for none."},
    )


class RoutesDocument(Document):
    """routes/<tenant id>: the tenant's own routes."""

    routes = fields.List(
        fields.Nested(RouteDocument),
        required=True,
        metadata={"description": "In the order in which they are asked; the first match serves."},
    )
