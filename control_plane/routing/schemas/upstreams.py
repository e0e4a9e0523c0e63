"""Upstreams on the wire."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_dump, validate, validates_schema

from control_plane.contract.documents import (
    BALANCING,
    HASH_SOURCES,
    PASS_HOST,
    RETRY_STATUSES,
)
from control_plane.core import base_urls
from control_plane.core.api import PageQuerySchema, Schema, SortField
from control_plane.core.auth import find_actor
from control_plane.routing.schemas.parts import HEADER_NAME, NAME, Seconds, each_once, path_problem
from control_plane.routing.targets import one_name

MOST_TARGETS = 64
_MOST_STATUSES = 50
_PORTS = validate.Range(1, 65535)
_HOST_HEADER = validate.Regexp(
    r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?(:[0-9]{1,5})?\Z",
    error="Must be a host name in lower case, perhaps with :port.",
)
_DNS_NAME = validate.Regexp(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)+\Z",
    error="Must be a DNS name in lower case, such as _http._tcp.example.com.",
)
_SHOWN_OF_SHARED = frozenset({"id", "tenantId", "name", "isShared", "creationDate"})


def _statuses(description: str) -> fields.List[int]:
    return fields.List(
        fields.Integer(validate=validate.Range(100, 599)),
        load_default=list,
        validate=[validate.Length(max=_MOST_STATUSES), each_once],
        metadata={"description": description},
    )


class TargetSchema(Schema):
    """One server, or a name that stands for several."""

    resource = None
    host = fields.String(
        required=True,
        validate=validate.Length(1, 253),
        metadata={"description": "A host name or an IP address.", "example": "app.example.com"},
    )
    port = fields.Integer(required=True, validate=_PORTS)
    weight = fields.Integer(
        load_default=1,
        validate=validate.Range(0, 1000),
        metadata={"description": "Its share of the calls; 0 gets none."},
    )

    @validates_schema(skip_on_field_errors=True)
    def _is_a_host(self, data: dict[str, Any], **_: Any) -> None:
        host = f"[{data['host']}]" if ":" in data["host"] else data["host"]
        try:
            parsed = base_urls.parse(f"https://{host}:{data['port']}")
        except ValueError as error:
            field = "port" if "port" in str(error) else "host"
            raise ValidationError(f"The target {error}.", field) from error
        if parsed.path:
            raise ValidationError("Must be a host name or an IP address only.", "host")
        data["host"] = parsed.host


class ServiceSchema(Schema):
    """Servers that the DNS names."""

    resource = None
    srv = fields.String(
        required=True,
        validate=_DNS_NAME,
        metadata={"description": "A name with SRV records.", "example": "_http._tcp.example.com"},
    )


class HashOnSchema(Schema):
    """What of a request decides its target."""

    resource = None
    source = fields.String(required=True, validate=validate.OneOf(HASH_SOURCES))
    name = fields.String(
        load_default=None,
        allow_none=True,
        validate=HEADER_NAME,
        metadata={"description": "Of the header or cookie, and only of these."},
    )

    @validates_schema(skip_on_field_errors=True)
    def _has_a_name(self, data: dict[str, Any], **_: Any) -> None:
        if (data["source"] in ("header", "cookie")) is (data["name"] is None):
            raise ValidationError("Names the header or cookie, and only these.", "name")
        if data["source"] == "header":
            data["name"] = data["name"].lower()


class HealthCheckSchema(Schema):
    """How each target is asked whether it is well."""

    resource = None
    path = fields.String(load_default="/", validate=validate.Length(1, 512))
    interval = Seconds(load_default=5.0, validate=validate.Range(1, 3600))
    timeout = Seconds(load_default=2.0, validate=validate.Range(0.05, 60))
    healthy_after = fields.Integer(load_default=2, validate=validate.Range(1, 100))
    unhealthy_after = fields.Integer(load_default=3, validate=validate.Range(1, 100))
    statuses = _statuses("Good answers; [] is 200 to 399.")

    @validates_schema(skip_on_field_errors=True)
    def _can_be(self, data: dict[str, Any], **_: Any) -> None:
        problem = path_problem(data["path"])
        if problem is not None:
            raise ValidationError(f"The path {problem}.", "path")
        if data["timeout"] > data["interval"]:
            raise ValidationError("Must be no longer than the interval.", "timeout")


class PassiveSchema(Schema):
    """When a target is left out because of how it answers real calls."""

    resource = None
    failures = fields.Integer(load_default=5, validate=validate.Range(1, 1000))
    seconds = Seconds(load_default=10.0, validate=validate.Range(1, 3600))


class RetriesSchema(Schema):
    """How often a failed call is sent again, where that is safe."""

    resource = None
    attempts = fields.Integer(load_default=1, validate=validate.Range(0, 5))
    statuses = fields.String(
        load_default=RETRY_STATUSES[0],
        validate=validate.OneOf(RETRY_STATUSES),
        metadata={
            "description": "Answers after which it is sent again, beside none at all: "
            "`unavailable` is 502, 503, 504; `unavailableOrBusy` is these and 429."
        },
    )

    @validates_schema(skip_on_field_errors=True)
    def _can_be(self, data: dict[str, Any], **_: Any) -> None:
        if data["attempts"] == 0 and data["statuses"] != RETRY_STATUSES[0]:
            raise ValidationError("Must be none without attempts.", "statuses")


class UpstreamUpdateSchema(Schema):
    """An upstream as it shall be."""

    resource = "upstream"
    name = fields.String(required=True, validate=[validate.Length(1, 100), NAME])
    is_shared = fields.Boolean(
        load_default=False,
        metadata={"description": "Routes of tenants may name it; only the platform's own."},
    )
    scheme = fields.String(load_default="https", validate=validate.OneOf(["http", "https"]))
    pass_host = fields.String(
        load_default="target",
        validate=validate.OneOf(PASS_HOST),
        metadata={"description": "The Host header: the client's, the target's, or `host`."},
    )
    host = fields.String(load_default=None, allow_none=True, validate=_HOST_HEADER)
    server_name = fields.String(
        load_default=None,
        allow_none=True,
        validate=_DNS_NAME,
        metadata={
            "description": "The name that all targets prove by TLS; null is their one host name."
        },
    )
    balancing = fields.String(load_default="roundRobin", validate=validate.OneOf(BALANCING))
    hash_on = fields.Nested(HashOnSchema, load_default=None, allow_none=True)
    targets = fields.List(
        fields.Nested(TargetSchema),
        load_default=list,
        validate=validate.Length(max=MOST_TARGETS),
    )
    service = fields.Nested(ServiceSchema, load_default=None, allow_none=True)
    discovery = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 253),
        metadata={"description": "What a plugin knows the targets of."},
    )
    health_check = fields.Nested(HealthCheckSchema, load_default=None, allow_none=True)
    passive = fields.Nested(PassiveSchema, load_default=None, allow_none=True)
    retries = fields.Nested(RetriesSchema, load_default=lambda: RetriesSchema().load({}))

    def check_whole(self, values: Mapping[str, Any]) -> None:
        """Refuse targets, balancing and names that do not go together."""
        given = [
            bool(values["targets"]),
            values["service"] is not None,
            values["discovery"] is not None,
        ]
        if sum(given) != 1:
            raise ValidationError(
                "Must be given, or `service`, or `discovery`, and only one of them.", "targets"
            )
        places = [(target["host"], target["port"]) for target in values["targets"]]
        if len(set(places)) < len(places):
            raise ValidationError("Must name each host and port once.", "targets")
        if values["targets"] and not any(target["weight"] for target in values["targets"]):
            raise ValidationError("Must have one with a weight.", "targets")
        is_fixed = values["pass_host"] == PASS_HOST[-1]
        if is_fixed is (values["host"] is None):
            raise ValidationError("Is given when passHost is fixed, and only then.", "host")
        if (values["balancing"] == "consistentHash") is (values["hash_on"] is None):
            raise ValidationError("Is given with consistentHash, and only then.", "hashOn")
        self._check_server_name(values)

    def _check_server_name(self, values: Mapping[str, Any]) -> None:
        if values["scheme"] == "http" and values["server_name"] is not None:
            raise ValidationError("Is for https only.", "serverName")
        if (
            values["scheme"] == "https"
            and values["server_name"] is None
            and one_name(values["targets"]) is None
        ):
            raise ValidationError(
                "Must be given: the targets are not all at one host name.", "serverName"
            )


class UpstreamCreateSchema(UpstreamUpdateSchema):
    """A new upstream."""

    tenant_id = fields.UUID(
        allow_none=True,
        load_default=None,
        metadata={"description": "null: the creator's own tenant, or the platform."},
    )


class UpstreamSchema(UpstreamUpdateSchema):
    """Where requests of routes go; of the platform's own, tenants see the name only."""

    id = fields.UUID()
    tenant_id = fields.UUID(allow_none=True)
    creation_date = fields.AwareDateTime(attribute="created_at")

    @post_dump
    def _hide_from_tenants(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Where the platform's own servers are is its own matter."""
        actor = find_actor()
        if actor is None or actor.tenant_id is None or data.get("tenantId") is not None:
            return data
        return {name: value for name, value in data.items() if name in _SHOWN_OF_SHARED}


class UpstreamQuerySchema(PageQuerySchema):
    """Which upstreams to list."""

    resource = "upstream"
    tenant_id = fields.UUID(load_default=None)
    sort = SortField("name", creationDate="created_at")
