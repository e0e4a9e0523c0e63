"""Wire format of the room audit."""

from typing import Any

from marshmallow import fields, post_dump, validate

from control_plane.core import field_rights
from control_plane.core.api import QuerySchema, Schema
from control_plane.core.audit_entries import HIDDEN, Action, Outcome
from control_plane.core.moments import Moment
from control_plane.core.occasions import ActorKind

_MAX_ENTRIES = 500
_TEXT = validate.Length(1, 200)


class AuditLogQuerySchema(QuerySchema):
    """Which entries to list, the newest first."""

    resource = "auditLog"
    tenant_id = fields.UUID(metadata={"description": "Of one tenant only."})
    actor = fields.String(
        validate=_TEXT,
        metadata={"description": "The id of a user or service client, or a user of the machine."},
    )
    actor_type = fields.Enum(ActorKind, by_value=True)
    action = fields.Enum(Action, by_value=True)
    operation = fields.String(
        validate=_TEXT, metadata={"example": "POST /api/tenants/{tenantId}/suspend"}
    )
    resource_type = fields.String(validate=_TEXT, metadata={"example": "api_key"})
    resource_id = fields.String(validate=_TEXT)
    outcome = fields.Enum(Outcome, by_value=True)
    request_id = fields.String(validate=validate.Length(1, 128))
    start = Moment(
        data_key="from", metadata={"description": "The first moment, as RFC 3339 has it."}
    )
    end = Moment(data_key="to", metadata={"description": "The moment after the last."})
    cursor = fields.String(
        load_default=None,
        validate=validate.Length(max=500),
        metadata={"description": "Where the last answer ended, as its Link header has it."},
    )
    limit = fields.Integer(load_default=100, validate=validate.Range(1, _MAX_ENTRIES))


class AuditLogSchema(Schema):
    """One thing that was done."""

    resource = "auditLog"
    always_shown = frozenset({"id", "tenantId", "seq", "timestamp"})
    id = fields.UUID()
    tenant_id = fields.UUID(
        allow_none=True, metadata={"description": "Whose chain it is in; null is the platform's."}
    )
    seq = fields.Integer(metadata={"description": "Its number in the chain, from 1, without gaps."})
    timestamp = fields.AwareDateTime(attribute="created_at")
    actor_type = fields.Enum(ActorKind, by_value=True)
    actor = fields.String(
        allow_none=True,
        metadata={"description": "The id of a user or service client, or a user of the machine."},
    )
    operation = fields.String(
        metadata={"description": "The request, command or job in the course of which it was done."}
    )
    action = fields.Enum(Action, by_value=True)
    resource_type = fields.String(allow_none=True, metadata={"example": "api_key"})
    resource_id = fields.String(allow_none=True)
    outcome = fields.Enum(Outcome, by_value=True)
    before = fields.Dict(
        keys=fields.String(),
        allow_none=True,
        metadata={"description": "The fields that changed, as they were; secrets are `[hidden]`."},
    )
    after = fields.Dict(
        keys=fields.String(),
        allow_none=True,
        metadata={"description": "The same as they are now; of a refusal, its code."},
    )
    request_id = fields.String(allow_none=True)
    address = fields.String(allow_none=True, metadata={"description": "Where the request is from."})
    hash = fields.String(metadata={"description": "Over the entry and the hash before it."})

    @post_dump
    def _keep_fields(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Show no more of what was changed than the thing itself shows the reader."""
        kept = field_rights.unseen_names()
        for state in ("before", "after"):
            if kept and data.get(state):
                data[state] = {
                    name: HIDDEN if name in kept else value for name, value in data[state].items()
                }
        return data
