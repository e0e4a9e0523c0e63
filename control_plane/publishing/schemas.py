"""What publishing shows on the wire."""

from typing import ClassVar

from marshmallow import fields

from control_plane.core.api import Schema


class RevisionSchema(Schema):
    """A revision of the configuration."""

    resource: ClassVar[str | None] = None
    epoch = fields.Integer()
    revision = fields.Integer()


class NodeRefusalSchema(RevisionSchema):
    """A document that a node refused; its last good version goes on serving there."""

    section = fields.String()
    id = fields.String()
    reason = fields.String()


class NodeSchema(Schema):
    """A gateway node."""

    resource = "gatewayNode"
    node = fields.String()
    applied = fields.Nested(
        RevisionSchema,
        allow_none=True,
        metadata={"description": "What all workers of the node hold; null is nothing yet."},
    )
    current = fields.Nested(
        RevisionSchema, metadata={"description": "The newest revision that was published."}
    )
    is_current = fields.Boolean(metadata={"description": "Whether the two are the same."})
    workers = fields.Integer(metadata={"description": "Number of worker processes."})
    refusals = fields.List(fields.Nested(NodeRefusalSchema))
    more_refusals = fields.Boolean(
        metadata={"description": "Whether the node refused more than it names."}
    )
    memory_bytes = fields.Integer(
        allow_none=True,
        metadata={"description": "Size of its memory for the configuration; null is unknown."},
    )
    memory_free_bytes = fields.Integer(
        allow_none=True,
        metadata={"description": "Of it, what is still free; at none, documents are refused."},
    )
    last_seen = fields.AwareDateTime()


class PublishSchema(RevisionSchema):
    """One publish."""

    resource = "gatewayRevision"
    creation_date = fields.AwareDateTime(attribute="created_at")
    actor_id = fields.UUID(
        allow_none=True, metadata={"description": "Who caused it, where one person did."}
    )
    reason = fields.String()
    changes = fields.List(
        fields.List(fields.String()),
        allow_none=True,
        metadata={"description": "Section and id of each document; null is all of them."},
    )


class PublishRefusalSchema(Schema):
    """A document that could not be published; its last good version goes on serving."""

    resource = "gatewayRefusal"
    section = fields.String()
    id = fields.String(attribute="document_id")
    reason = fields.String()
    refused_at = fields.AwareDateTime()
