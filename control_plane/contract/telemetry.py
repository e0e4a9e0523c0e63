"""What a gateway node counts of each service and tenant, in the order in which it says so."""

from marshmallow import fields

from control_plane.contract.documents import Document

OUTCOMES = (
    "ok",
    "client_error",
    "upstream_error",
    "timeout",
    "unreachable",
    "broken",
    "aborted",
    "refused",
)
"""How a call ended.

`ok`: answered whole, below 400. `client_error`: the upstream answered 4xx. `upstream_error`: it
answered 5xx, or what cannot be passed on. `timeout`: it did not answer in time. `unreachable`: no
connection, or closed before an answer. `broken`: the answer ended early. `aborted`: the client
left, or the gateway ended the answer. `refused`: by the gateway, the upstream was not asked.
"""

FAILURES = ("upstream_error", "timeout", "unreachable", "broken")
"""The outcomes that are the service's fault."""

SUMS = ("request_bytes", "response_bytes", "tokens_in", "tokens_out", "wait_us")
"""What is added up; `wait_us` is the time until the first byte of the answer, or until the end."""

BOUNDS_US = tuple(base * 10**power for power in range(3, 9) for base in (1, 2, 5))
"""Upper bounds of the buckets of `wait_us`, 1 ms to 500 s; one more bucket takes what is longer."""

COUNTS = (*OUTCOMES, *SUMS, *(f"bucket_{number}" for number in range(1, len(BOUNDS_US) + 2)))
"""The numbers of one service in their order; a bucket holds only its own calls."""


class ServiceCountsSchema(Document):
    """One service since the node's boot."""

    counts = fields.List(fields.Integer(), required=True)
    in_flight = fields.Integer(required=True)


class NodeServicesSchema(Document):
    """What a node says of its services, each second: all that it counted since `boot`."""

    boot = fields.Integer(required=True)
    seen_at = fields.Integer(required=True)
    busy = fields.Float(
        required=True,
        metadata={"description": "Share of its time that the busiest worker spent on the CPU."},
    )
    services = fields.Dict(
        keys=fields.String(), values=fields.Nested(ServiceCountsSchema), required=True
    )
