"""Circuit breakers on the wire."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

from control_plane.contract.documents.breakers import BREAKER_MODES
from control_plane.core.api import PageQuerySchema, Schema, SortField
from control_plane.resilience.schemas.parts import (
    ENDPOINT,
    MOST_SECONDS,
    count,
    owner,
    service_field,
)

_STATUSES = (408, 429, *range(500, 600))


def _percent(default: int | None, description: str) -> fields.Integer:
    options: dict[str, Any] = {"required": True} if default is None else {"load_default": default}
    return fields.Integer(
        validate=validate.Range(1, 100),
        metadata={"description": f"{description}, in percent."},
        **options,
    )


class CircuitBreakerUpdateSchema(Schema):
    """A circuit breaker as it shall be."""

    resource = "circuitBreaker"
    name = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 200),
        metadata={"description": "null: after its service and endpoint."},
    )
    service_name = service_field()
    endpoint = fields.String(
        load_default=None,
        allow_none=True,
        validate=ENDPOINT,
        metadata={
            "description": "The path, or the beginning of it up to a slash, whose calls it is "
            "about; null is all."
        },
    )
    mode = fields.String(
        load_default="auto",
        validate=validate.OneOf(BREAKER_MODES),
        metadata={"description": "By its calls; always open, by hand; never open."},
    )
    failure_threshold = _percent(50, "Of the calls in the window, the failed ones that open it")
    minimum_calls = count(20, 1_000_000, "With fewer calls in the window no share opens it.")
    window_seconds = count(30, 60, "How far back calls count.", least=2)
    slow_call_milliseconds = count(
        None, MOST_SECONDS * 1000, "A call that lasts longer is slow; null: none is."
    )
    slow_call_threshold = _percent(80, "Of the calls in the window, the slow ones that open it")
    consecutive_failures = fields.Integer(
        load_default=5,
        allow_none=True,
        validate=validate.Range(1, 1000),
        metadata={"description": "So many failures in a row open it; null: that does not count."},
    )
    reset_timeout = count(5, MOST_SECONDS, "Seconds until it is tried again; doubled each time.")
    max_reset_timeout = count(60, MOST_SECONDS, "Seconds that it is open at most.")
    half_open_permits = count(5, 100, "Calls that are tried, and must succeed, to close it.")
    counted_statuses = fields.List(
        fields.Integer(validate=validate.OneOf(_STATUSES, error="Must be 408, 429 or 500 to 599.")),
        load_default=lambda: [500, 502, 503, 504],
        validate=validate.Length(max=len(_STATUSES)),
        metadata={"description": "Statuses of the upstream that are failures."},
    )

    def check_whole(self, values: Mapping[str, Any]) -> None:
        """Refuse a longest time that is none."""
        if values["max_reset_timeout"] < values["reset_timeout"]:
            raise ValidationError("Must not be less than resetTimeout.", "maxResetTimeout")


class CircuitBreakerCreateSchema(CircuitBreakerUpdateSchema):
    """A new circuit breaker."""

    tenant_id = owner()


class CircuitBreakerSchema(CircuitBreakerUpdateSchema):
    """A circuit breaker, and what state it is in by what the gateway nodes say."""

    id = fields.UUID()
    tenant_id = fields.UUID(allow_none=True)
    creation_date = fields.AwareDateTime(attribute="created_at")
    status = fields.String(
        attribute="state.status",
        allow_none=True,
        validate=validate.OneOf(("closed", "open", "half-open", None)),
        metadata={"description": "As the nodes say; null when nobody knows, see `reason`."},
    )
    last_state_change = fields.AwareDateTime(
        attribute="state.since",
        allow_none=True,
        metadata={"description": "null when it did not change within the hour, or by `mode`."},
    )
    reason = fields.String(
        attribute="state.reason",
        allow_none=True,
        metadata={"description": "Why it is so, such as `17 of 20 calls failed in 30 s`."},
    )


class CircuitBreakerQuerySchema(PageQuerySchema):
    """Which circuit breakers to list."""

    resource = "circuitBreaker"
    tenant_id = fields.UUID(load_default=None)
    sort = SortField("name", creationDate="created_at")
