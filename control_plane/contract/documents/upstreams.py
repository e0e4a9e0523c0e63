"""Section `upstreams`."""

from marshmallow import fields, validate

from control_plane.contract.documents.document import UUID, Document

BALANCING = ("roundRobin", "leastConnections", "consistentHash")
HASH_SOURCES = ("address", "header", "cookie", "path", "key")
PASS_HOST = ("client", "target", "fixed")

RETRY_STATUSES = ("none", "unavailable", "unavailableOrBusy")
"""Which answers are sent again: none, those of 502, 503, 504, or these and 429."""

_STATUS = validate.Range(100, 599)


def _whole(description: str, *, least: int = 1) -> fields.Integer:
    return fields.Integer(
        required=True, validate=validate.Range(min=least), metadata={"description": description}
    )


def _seconds(description: str) -> fields.Float:
    return fields.Float(
        required=True,
        validate=validate.Range(min=0.001),
        metadata={"description": description},
    )


def _statuses(description: str) -> fields.List[int]:
    return fields.List(
        fields.Integer(validate=_STATUS), required=True, metadata={"description": description}
    )


class TargetDocument(Document):
    """One server of an upstream, or a name that stands for several."""

    host = fields.String(
        required=True,
        validate=validate.Length(1, 253),
        metadata={"description": "A host name or an IP address literal without brackets."},
    )
    port = fields.Integer(required=True, validate=validate.Range(1, 65535))
    weight = fields.Integer(
        required=True,
        validate=validate.Range(0, 1000),
        metadata={"description": "Its share of the calls; 0 gets none."},
    )


class ServiceDocument(Document):
    """Targets that the DNS knows."""

    srv = fields.String(
        required=True,
        validate=validate.Length(1, 253),
        metadata={"description": "A name with SRV records, such as _http._tcp.example.com."},
    )


class HashOnDocument(Document):
    """What of a request decides its target."""

    source = fields.String(required=True, validate=validate.OneOf(HASH_SOURCES))
    name = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Of the header (lower case) or cookie; else null."},
    )


class HealthCheckDocument(Document):
    """How each target is asked whether it is well."""

    path = fields.String(required=True, validate=validate.Length(1, 1024))
    interval = _seconds("Seconds between two questions.")
    timeout = _seconds("Seconds within which the answer must be there.")
    healthy_after = _whole("Good answers in a row until it is used again.")
    unhealthy_after = _whole("Bad answers in a row until it is not used.")
    statuses = _statuses("Good answers; [] is 200 to 399.")


class PassiveDocument(Document):
    """When a target is left out because of how it answers real calls."""

    failures = _whole("Failed calls in a row.")
    seconds = _seconds("How long it is left out.")


class RetriesDocument(Document):
    """How often a failed call is sent again, to another target where there is one."""

    attempts = _whole("Times that a call is sent again at most; 0 is never.", least=0)
    statuses = fields.String(
        required=True,
        validate=validate.OneOf(RETRY_STATUSES),
        metadata={
            "description": "Answers after which it is sent again, beside none at all: "
            "`unavailable` is 502, 503, 504; `unavailableOrBusy` is these and 429."
        },
    )


class UpstreamDocument(Document):
    """upstreams/<upstream id>: where requests of routes go."""

    name = fields.String(required=True, validate=validate.Length(1, 100))
    tenant = fields.String(
        required=True,
        allow_none=True,
        validate=UUID,
        metadata={"description": "Whose it is; null is the platform's."},
    )
    scheme = fields.String(required=True, validate=validate.OneOf(["http", "https"]))
    pass_host = fields.String(
        required=True,
        validate=validate.OneOf(PASS_HOST),
        metadata={"description": "The Host header: the client's, the target's, or `host`."},
    )
    host = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The Host header when passHost is fixed, else null."},
    )
    server_name = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The name that all targets prove by TLS; null with http."},
    )
    balancing = fields.String(required=True, validate=validate.OneOf(BALANCING))
    hash_on = fields.Nested(
        HashOnDocument,
        required=True,
        allow_none=True,
        metadata={"description": "With consistentHash only, else null."},
    )
    targets = fields.List(
        fields.Nested(TargetDocument),
        required=True,
        metadata={"description": "Its servers; [] when `service` is given."},
    )
    service = fields.Nested(
        ServiceDocument,
        required=True,
        allow_none=True,
        metadata={"description": "Where the servers are asked for instead of `targets`."},
    )
    health_check = fields.Nested(
        HealthCheckDocument,
        required=True,
        allow_none=True,
        metadata={"description": "Null asks nothing."},
    )
    passive = fields.Nested(
        PassiveDocument,
        required=True,
        allow_none=True,
        metadata={"description": "Null leaves no target out."},
    )
    retries = fields.Nested(RetriesDocument, required=True)
