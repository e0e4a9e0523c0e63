"""Section `limits`."""

from typing import Any

from marshmallow import fields, validate

from control_plane.contract.documents.document import UUID, Document

METERS = ("requests", "tokens", "concurrency")
"""What a rule counts; `concurrency` counts the calls under way."""

WINDOWS = ("second", "minute", "hour", "day", "month")
"""In what time; days and months are those of the rule's time zone, the others begin in UTC."""

SCOPES = ("platform", "tenant", "key", "user", "route", "model")
"""Of what each has a counter of its own; `platform` alone is one counter for all."""

ON_OUTAGE = ("open", "closed", "local")
"""What becomes of requests while Redis is away: pass, 503, or by the count of the node alone."""


def _matched(description: str, *validators: validate.Validator) -> fields.String:
    return fields.String(
        allow_none=True,
        load_default=None,
        validate=[validate.Length(1, 255), *validators],
        metadata={"description": f"{description}; null is any."},
    )


class LimitMatchDocument(Document):
    """Which requests a rule is about."""

    key = _matched("The id of the API key or, with a token, of its issuer", UUID)
    user = _matched("The end user that the token names")
    route = _matched("The id of a tenant's route, or a built-in endpoint such as /v1/embeddings")
    model = _matched("The id of the AI model", UUID)


class ZoneOffsetDocument(Document):
    """The distance from UTC that a time zone has from a moment on."""

    # `from` is a word of Python's.
    since = fields.Integer(
        required=True,
        data_key="from",
        metadata={"description": "Unix seconds; the first one holds before that too."},
    )
    offset = fields.Integer(
        required=True, metadata={"description": "Seconds that local time is ahead of UTC."}
    )


def _count(description: str, **options: Any) -> fields.Integer:
    return fields.Integer(
        validate=validate.Range(min=0), metadata={"description": description}, **options
    )


class LimitRuleDocument(Document):
    """How much may pass; only for requests that have what `scope` and `match` name."""

    id = fields.String(
        required=True,
        validate=validate.Length(1, 128),
        metadata={"description": "Tells the rule from others of the document, and its counters."},
    )
    name = fields.String(
        required=True,
        validate=validate.Length(1, 100),
        metadata={"description": "What a refusal calls it."},
    )
    scope = fields.List(
        fields.String(validate=validate.OneOf(SCOPES)),
        required=True,
        validate=validate.Length(min=1),
        metadata={"description": "There is a counter for each combination of these."},
    )
    match = fields.Nested(LimitMatchDocument, required=True)
    meter = fields.String(required=True, validate=validate.OneOf(METERS))
    limit = _count("How many in a window, or at once; 0 lets nothing pass.", required=True)
    window = fields.String(
        allow_none=True,
        load_default=None,
        validate=validate.OneOf(WINDOWS),
        metadata={"description": "null with the meter `concurrency` only."},
    )
    burst = _count(
        "How much a token bucket holds that is refilled by `limit` a `window`, without steps; "
        "null: a fixed window that begins anew.",
        allow_none=True,
        load_default=None,
    )
    on_outage = fields.String(
        required=True,
        validate=validate.OneOf(ON_OUTAGE),
        metadata={"description": "While Redis is away: pass, refuse, or count on the node alone."},
    )
    zone = fields.List(
        fields.Nested(ZoneOffsetDocument),
        load_default=list,
        metadata={"description": "By time; for days and months, and empty for other windows."},
    )


class LimitsDocument(Document):
    """limits/<tenant id>, and limits/platform for the requests of all: what is let pass."""

    rules = fields.List(fields.Nested(LimitRuleDocument), required=True)
