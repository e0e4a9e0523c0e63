"""Sections `tenants` and `profiles`."""

from marshmallow import fields, validate

from control_plane.contract.documents.document import Document, decimal, end, raw_json, uuid


class TenantModelDocument(Document):
    """One entry of a tenant's `models`: how this tenant calls one model."""

    model = uuid("The id of the document in section models.")
    parameters = raw_json(
        "Parameter name to the raw JSON text of its value; wins over the model's parameters."
    )
    cost_multiplier = decimal("Factor on the model's costPerCall, a decimal string.")
    max_calls_per_day = fields.Integer(
        allow_none=True,
        load_default=None,
        validate=validate.Range(min=0),
        metadata={"description": "Calls a day; the rule that is obeyed is in section limits."},
    )


class TenantDocument(Document):
    """tenants/<tenant id>: may this tenant be served, and which models may it call."""

    status = fields.String(
        required=True,
        validate=validate.OneOf(["active", "inactive", "suspended"]),
        metadata={"description": "Only an active tenant is served."},
    )
    expires_at = end("Unix seconds from which the tenant is not served; null is never.")
    models = fields.Dict(
        keys=fields.String(),
        values=fields.Nested(TenantModelDocument),
        required=True,
        metadata={"description": "Model name, as clients send it, to the tenant's settings."},
    )


class ProfileDocument(Document):
    """profiles/<tenant id>: what a tenant's own front end is told, without a key."""

    feature_flags = fields.Dict(
        keys=fields.String(),
        values=fields.Boolean(),
        required=True,
        metadata={"description": "Flag to whether it is on."},
    )
    ui_theme = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": "Name of a theme's setting to its text."},
    )
