"""What a gateway node reports about itself: the acknowledgement of the configuration."""

from marshmallow import fields, validate

from control_plane.contract.documents import Document


class RefusalSchema(Document):
    """A document that the node did not accept; its last good version goes on serving."""

    section = fields.String(required=True)
    id = fields.String(required=True)
    epoch = fields.Integer(required=True)
    revision = fields.Integer(required=True)
    reason = fields.String(required=True)


class NodeStatusSchema(Document):
    """State of one node, the same for all its workers unless said otherwise."""

    node = fields.String(required=True, validate=validate.Regexp(r"^[a-z0-9-]{1,32}$(?!\n)"))
    epoch = fields.Integer(
        required=True, metadata={"description": "Epoch that every worker holds; 0 is none yet."}
    )
    revision = fields.Integer(
        required=True, metadata={"description": "Lowest revision that every worker holds."}
    )
    refusals = fields.List(fields.Nested(RefusalSchema), required=True)
    more_refusals = fields.Boolean(
        load_default=False,
        metadata={"description": "Whether more was refused than is named."},
    )
    memory_bytes = fields.Integer(
        load_default=None,
        allow_none=True,
        metadata={"description": "Size of the memory for the configuration."},
    )
    memory_free_bytes = fields.Integer(
        load_default=None,
        allow_none=True,
        metadata={"description": "Of it, what no document has begun to fill."},
    )
    workers = fields.List(
        fields.Integer(), required=True, metadata={"description": "Process ids of the workers."}
    )
    seen_at = fields.Integer(
        required=True, metadata={"description": "Unix milliseconds of this report."}
    )
    contract = fields.Integer(required=True, metadata={"description": "Contract version read."})
