"""The health of services on the wire."""

from marshmallow import fields, validate

from control_plane.core.api import PageQuerySchema, Schema
from control_plane.monitoring.health import KINDS, STATUSES


class ServiceHealthSchema(Schema):
    """How a part of the installation, an AI model or an upstream does."""

    resource = "serviceHealth"
    id = fields.String(
        metadata={"description": "Such as `model:<id>`, `gatewayNode:<name>` or `database`."}
    )
    service_name = fields.String()
    kind = fields.String(validate=validate.OneOf(KINDS))
    status = fields.String(
        allow_none=True,
        validate=validate.OneOf((*STATUSES, None)),
        metadata={"description": "null when nobody knows; `reason` says why."},
    )
    reason = fields.String(
        allow_none=True, metadata={"description": "What is wrong; null when nothing is."}
    )
    last_checked = fields.AwareDateTime(metadata={"description": "Of when this is."})
    metrics = fields.Dict(
        keys=fields.String(),
        values=fields.Float(),
        metadata={"description": "Numbers by which it does so, as far as they are known."},
    )


class ServicesQuerySchema(PageQuerySchema):
    """Which services to list."""

    resource = "serviceHealth"
    status = fields.String(load_default=None, validate=validate.OneOf(STATUSES))
    kind = fields.String(load_default=None, validate=validate.OneOf(KINDS))
