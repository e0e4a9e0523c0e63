"""Section `breakers`."""

from marshmallow import fields, validate

from control_plane.contract.documents.document import UUID, Document, uuid, whole

BREAKER_MODES = ("auto", "forcedOpen", "disabled")
"""By its calls; always open, by hand; never open."""

ENDPOINT = whole(r"/[!-~]{0,254}")

SERVICE = whole("(model|upstream):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The key of a service: an AI model, or an upstream."""


def _percent(description: str) -> fields.Integer:
    return fields.Integer(
        required=True,
        validate=validate.Range(1, 100),
        metadata={"description": f"{description}, in percent."},
    )


def _whole_number(description: str, *, allow_none: bool = False) -> fields.Integer:
    return fields.Integer(
        required=True,
        allow_none=allow_none,
        validate=validate.Range(min=1),
        metadata={"description": description},
    )


class BreakerDocument(Document):
    """When calls of a service are no longer made, and when they are tried again."""

    id = uuid("The breaker's own id, by which nodes tell of it.")
    endpoint = fields.String(
        required=True,
        allow_none=True,
        validate=ENDPOINT,
        metadata={
            "description": "The path, or the beginning of it up to a slash, whose calls it is "
            "about; null is all."
        },
    )
    tenant = fields.String(
        required=True,
        allow_none=True,
        validate=UUID,
        metadata={"description": "Whose calls it is about; null is everybody's."},
    )
    mode = fields.String(required=True, validate=validate.OneOf(BREAKER_MODES))
    failure_threshold = _percent("Of the calls in the window, the failed ones that open it")
    minimum_calls = _whole_number("With fewer calls in the window no share opens it.")
    window_seconds = _whole_number("How far back calls count.")
    slow_call_milliseconds = _whole_number(
        "A call that lasts longer is slow; null: none is.", allow_none=True
    )
    slow_call_threshold = _percent("Of the calls in the window, the slow ones that open it")
    consecutive_failures = _whole_number(
        "So many failures one after the other open it; null: that does not count.", allow_none=True
    )
    reset_timeout = _whole_number("Seconds that it is open the first time; doubled each time.")
    max_reset_timeout = _whole_number("Seconds that it is open at most.")
    half_open_permits = _whole_number("Calls that are tried, and must succeed, to close it.")
    counted_statuses = fields.List(
        fields.Integer(validate=validate.Range(400, 599)),
        required=True,
        metadata={"description": "Statuses of the upstream that are failures."},
    )


class BreakersDocument(Document):
    """breakers/<service key>: the breakers of an AI model or an upstream."""

    breakers = fields.List(fields.Nested(BreakerDocument), required=True)
