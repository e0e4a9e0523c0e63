"""Wire format of the room usage."""

from marshmallow import fields, validate

from control_plane.contract.journal import Outcome, UsageSource
from control_plane.core.api import QuerySchema, Schema
from control_plane.core.moments import MomentOrDay
from control_plane.usage.models import Grouping

_MAX_EVENTS = 1000


class PeriodQuerySchema(QuerySchema):
    """A period of time, by default the last 30 days to now."""

    start = MomentOrDay(
        data_key="from",
        load_default=None,
        metadata={"description": "The first moment, or the first day of the tenant's."},
    )
    end = MomentOrDay(
        data_key="to",
        load_default=None,
        metadata={"description": "The moment after the last, or the last day of the tenant's."},
    )


class UsageQuerySchema(PeriodQuerySchema):
    """Which usage to sum up, and by what."""

    resource = "usage"
    group_by = fields.Enum(Grouping, by_value=True, load_default=None)


class EventsQuerySchema(PeriodQuerySchema):
    """Which events to list, the newest first."""

    resource = "usageEvent"
    cursor = fields.String(
        load_default=None,
        validate=validate.Length(max=500),
        metadata={"description": "Where the last answer ended, as its Link header has it."},
    )
    limit = fields.Integer(load_default=100, validate=validate.Range(1, _MAX_EVENTS))


class FiguresSchema(Schema):
    """Sums over calls. A call that began and left no end is an orphan and counts as such only."""

    resource = "usage"
    always_shown = frozenset({"from", "to"})
    calls = fields.Integer(metadata={"description": "Calls that ended."})
    errors = fields.Integer(metadata={"description": "Those of them that are not complete."})
    orphans = fields.Integer(
        metadata={"description": "Calls whose end is lost; they cost nothing."}
    )
    tokens_in = fields.Integer(metadata={"description": "Unknown counts as 0."})
    tokens_out = fields.Integer(metadata={"description": "Unknown counts as 0."})
    bytes_in = fields.Integer(metadata={"description": "Of the requests."})
    bytes_out = fields.Integer(metadata={"description": "Of the responses."})
    cost = fields.Decimal(
        as_string=True, metadata={"type": "string", "description": "A decimal, exact."}
    )


class UsageGroupSchema(FiguresSchema):
    """The sums of one day (in the tenant's time zone), model, endpoint or key."""

    key = fields.String(
        allow_none=True,
        metadata={"description": "The date, the endpoint, or the id of the model or the key."},
    )
    name = fields.String(
        allow_none=True, metadata={"description": "Of the model or the key, while it exists."}
    )


class UsageSchema(FiguresSchema):
    """A tenant's usage in a period."""

    start = fields.AwareDateTime(data_key="from")
    end = fields.AwareDateTime(data_key="to")
    groups = fields.List(fields.Nested(UsageGroupSchema))


class UsageEventSchema(Schema):
    """One metered call."""

    resource = "usageEvent"
    always_shown = frozenset({"id", "timestamp"})
    id = fields.String(metadata={"description": "Unique for ever."})
    tenant_id = fields.UUID()
    api_endpoint = fields.String(attribute="endpoint")
    timestamp = fields.AwareDateTime(metadata={"description": "When the call began."})
    response_time = fields.Float(metadata={"description": "Milliseconds from begin to end."})
    first_byte_time = fields.Float(
        allow_none=True, metadata={"description": "Milliseconds to the answer's first byte."}
    )
    status_code = fields.Integer(allow_none=True)
    request_size = fields.Integer(attribute="request_bytes", metadata={"description": "Bytes."})
    response_size = fields.Integer(attribute="response_bytes", metadata={"description": "Bytes."})
    cost = fields.Decimal(as_string=True, metadata={"type": "string"})
    user_id = fields.String(allow_none=True)
    request_id = fields.String()
    model_id = fields.UUID(allow_none=True)
    model = fields.String(
        allow_none=True, metadata={"description": "The model's name, while it exists."}
    )
    api_key_id = fields.UUID(
        attribute="key_id",
        allow_none=True,
        metadata={"description": "null at a route that asks for no key."},
    )
    tokens_in = fields.Integer(allow_none=True, metadata={"description": "null is unknown."})
    tokens_out = fields.Integer(allow_none=True, metadata={"description": "null is unknown."})
    tokens_cached = fields.Integer(allow_none=True, metadata={"description": "null is unknown."})
    tokens_reasoning = fields.Integer(allow_none=True, metadata={"description": "null is unknown."})
    outcome = fields.String(
        validate=validate.OneOf([o.name.lower() for o in Outcome if o is not Outcome.NONE])
    )
    stream = fields.Boolean(attribute="is_stream")
    usage_source = fields.String(validate=validate.OneOf([s.name.lower() for s in UsageSource]))
    upstream_status = fields.Integer(
        allow_none=True, metadata={"description": "null when the upstream never answered."}
    )
    events = fields.Integer(metadata={"description": "Events of a stream that passed."})
