"""Routes on the wire."""

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, validate, validates_schema

from control_plane.contract.documents import AUTHENTICATION
from control_plane.core.api import PageQuerySchema, Schema, SortField
from control_plane.core.network_fields import Network
from control_plane.routing.schemas.parts import (
    HEADER_NAME,
    HEADER_VALUE,
    NAME,
    RESERVED_IN_ANSWERS,
    RESERVED_IN_REQUESTS,
    Seconds,
    each_once,
    names_problem,
)
from control_plane.routing.schemas.rewriting import RewriteSchema, RoutePathSchema

_METHOD = validate.Regexp(
    r"(?!CONNECT\Z|TRACE\Z)[A-Z]{1,16}\Z",
    error="Must be a method such as GET, in capitals, and not CONNECT or TRACE.",
)
_ORIGIN = validate.Regexp(
    r"(\*|https?://([a-z0-9.-]{1,253}|\[[0-9a-f:.]+\])(:[0-9]{1,5})?)\Z",
    error="Must be * or an origin such as https://app.example.com, in lower case, without a path.",
)
_MOST_ITEMS = 50
_MOST_BYTES = 2**40
_DAY = 86400


class _HeaderChangesSchema(Schema):
    """Headers to remove and then to set, none of them `reserved`."""

    resource = None
    reserved: ClassVar[frozenset[str]]
    set = fields.Dict(
        keys=fields.String(validate=HEADER_NAME),
        values=fields.String(validate=HEADER_VALUE),
        load_default=dict,
        validate=validate.Length(max=_MOST_ITEMS),
        metadata={"description": "Header to its value; what was there is replaced."},
    )
    remove = fields.List(
        fields.String(validate=HEADER_NAME),
        load_default=list,
        validate=validate.Length(max=_MOST_ITEMS),
    )

    @validates_schema(skip_on_field_errors=True)
    def _refuse_reserved(self, data: dict[str, Any], **_: Any) -> None:
        for field in ("set", "remove"):
            problem = names_problem(list(data[field]), self.reserved)
            if problem is not None:
                raise ValidationError(problem, field)


class RequestHeadersSchema(_HeaderChangesSchema):
    """What is done to a request's headers before the upstream gets them."""

    resource = None
    reserved = RESERVED_IN_REQUESTS


class ResponseHeadersSchema(_HeaderChangesSchema):
    """What is done to an answer's headers before the client gets them."""

    resource = None
    reserved = RESERVED_IN_ANSWERS


class RouteHeaderSchema(Schema):
    """A header that a request must have."""

    resource = None
    name = fields.String(required=True, validate=HEADER_NAME)
    value = fields.String(
        load_default=None,
        allow_none=True,
        validate=HEADER_VALUE,
        metadata={"description": "What it must be, whole; null: it must only be there."},
    )


class TimeoutsSchema(Schema):
    """How long each part of a call may take, in seconds."""

    resource = None
    connect = Seconds(load_default=5.0, validate=validate.Range(0.05, 60))
    send = Seconds(load_default=60.0, validate=validate.Range(0.05, 3600))
    first_byte = Seconds(load_default=60.0, validate=validate.Range(0.05, 3600))
    between_bytes = Seconds(load_default=60.0, validate=validate.Range(0.05, 3600))
    total = Seconds(
        load_default=None,
        allow_none=True,
        validate=validate.Range(0.05, _DAY),
        metadata={"description": "The whole call; null is no limit."},
    )


class WebSocketSchema(Schema):
    """Whether a connection may become a WebSocket."""

    resource = None
    enabled = fields.Boolean(load_default=False)
    max_age = Seconds(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, 7 * _DAY),
        metadata={"description": "Seconds after which an open one is ended; null is no limit."},
    )


class CorsSchema(Schema):
    """What browsers are told that ask from pages of other origins."""

    resource = None
    allow_origins = fields.List(
        fields.String(validate=_ORIGIN),
        required=True,
        validate=[validate.Length(1, _MOST_ITEMS), each_once],
    )
    allow_methods = fields.List(
        fields.String(validate=_METHOD),
        load_default=list,
        validate=[validate.Length(max=_MOST_ITEMS), each_once],
        metadata={"description": "[] is those of the route, and of one without any all."},
    )
    allow_headers = fields.List(
        fields.String(validate=validate.Regexp(r"(\*|[A-Za-z0-9_-]{1,64})\Z")),
        load_default=list,
        validate=[validate.Length(max=_MOST_ITEMS), each_once],
        metadata={"description": "* is all that are asked for."},
    )
    expose_headers = fields.List(
        fields.String(validate=HEADER_NAME),
        load_default=list,
        validate=[validate.Length(max=_MOST_ITEMS), each_once],
    )
    allow_credentials = fields.Boolean(load_default=False)
    max_age = fields.Integer(
        load_default=600,
        validate=validate.Range(0, _DAY),
        metadata={"description": "Seconds for which a browser keeps the answer."},
    )

    @validates_schema
    def _refuse_everybodys_credentials(self, data: dict[str, Any], **_: Any) -> None:
        if data["allow_credentials"] and "*" in data["allow_origins"]:
            raise ValidationError(
                "Must name the origins, not *, when allowCredentials is true.", "allowOrigins"
            )


class RouteUpdateSchema(Schema):
    """A route as it shall be."""

    resource = "route"
    name = fields.String(
        required=True,
        validate=[validate.Length(1, 60), NAME],
        metadata={"description": "Unique in the tenant; usage shows it as the endpoint."},
    )
    priority = fields.Integer(
        load_default=0,
        validate=validate.Range(-1000, 1000),
        metadata={"description": "The higher is asked first, after exact paths."},
    )
    is_active = fields.Boolean(load_default=True)
    domains = fields.List(
        fields.String(validate=validate.Length(1, 253)),
        load_default=list,
        validate=[validate.Length(max=_MOST_ITEMS), each_once],
        metadata={"description": "Domains of the tenant; [] is all of them."},
    )
    path = fields.Nested(RoutePathSchema, required=True)
    methods = fields.List(
        fields.String(validate=_METHOD),
        load_default=None,
        allow_none=True,
        validate=[
            validate.Length(1, 20, error="Must have 1 to 20 items; null is all methods."),
            each_once,
        ],
        metadata={"description": "null is all."},
    )
    headers = fields.List(
        fields.Nested(RouteHeaderSchema), load_default=list, validate=validate.Length(max=10)
    )
    upstream: fields.Field[Any] = fields.UUID(required=True, attribute="upstream_id")
    strip_prefix = fields.Boolean(
        load_default=False,
        metadata={"description": "Take the matched beginning off the path; prefix routes only."},
    )
    rewrite = fields.Nested(RewriteSchema, load_default=None, allow_none=True)
    request_headers = fields.Nested(
        RequestHeadersSchema, load_default=lambda: {"set": {}, "remove": []}
    )
    response_headers = fields.Nested(
        ResponseHeadersSchema, load_default=lambda: {"set": {}, "remove": []}
    )
    max_request_bytes = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(min=0),
        metadata={"description": "null is the gateway's own limit, gateway.body_limit_mb."},
    )
    max_response_bytes = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=validate.Range(0, _MOST_BYTES),
        metadata={"description": "null is no limit."},
    )
    timeouts = fields.Nested(TimeoutsSchema, load_default=lambda: TimeoutsSchema().load({}))
    web_socket = fields.Nested(WebSocketSchema, load_default=lambda: WebSocketSchema().load({}))
    cors = fields.Nested(
        CorsSchema,
        load_default=None,
        allow_none=True,
        metadata={"description": "null leaves CORS to the upstream."},
    )
    allow_addresses = fields.List(
        Network(),
        load_default=list,
        validate=[validate.Length(max=_MOST_ITEMS), each_once],
        metadata={"description": "Networks it may be called from; [] is all."},
    )
    deny_addresses = fields.List(
        Network(),
        load_default=list,
        validate=[validate.Length(max=_MOST_ITEMS), each_once],
        metadata={"description": "Networks it may not be called from; they win."},
    )
    authentication = fields.List(
        fields.String(validate=validate.OneOf(AUTHENTICATION)),
        load_default=lambda: list(AUTHENTICATION),
        validate=each_once,
        metadata={"description": "What is taken: API keys, end users' tokens; [] asks for none."},
    )

    def check_whole(self, values: Mapping[str, Any]) -> None:
        """Refuse ways to change a path that it does not have."""
        is_prefix = values["path"]["kind"] == "prefix"
        rewrite = values["rewrite"]
        if values["strip_prefix"] and not is_prefix:
            raise ValidationError("Is for routes whose path is a prefix.", "stripPrefix")
        if values["strip_prefix"] and rewrite is not None:
            raise ValidationError("Must be null when stripPrefix is true.", "rewrite")
        problem = names_problem([each["name"] for each in values["headers"]], frozenset())
        if problem is not None:
            raise ValidationError(problem, "headers")


class RouteSchema(RouteUpdateSchema):
    """One of a tenant's own routes."""

    id = fields.UUID()
    tenant_id = fields.UUID()
    creation_date = fields.AwareDateTime(attribute="created_at")


class RouteQuerySchema(PageQuerySchema):
    """Which of a tenant's routes to list."""

    resource = "route"
    sort = SortField("name", "priority", creationDate="created_at")
