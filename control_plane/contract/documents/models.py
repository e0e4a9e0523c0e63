"""Section `models`."""

from marshmallow import fields, validate

from control_plane.contract.documents.document import Document, decimal, raw_json, whole


class EndpointDocument(Document):
    """Where a model is served: the parts of its base URL."""

    scheme = fields.String(required=True, validate=validate.OneOf(["http", "https"]))
    host = fields.String(
        required=True,
        validate=validate.Length(min=1, max=253),
        metadata={"description": "A host name or an IP address literal without brackets."},
    )
    port = fields.Integer(required=True, validate=validate.Range(min=1, max=65535))
    path = fields.String(
        required=True,
        validate=whole(r"(/[^\s?#]*)?"),
        metadata={"description": "The base path without a trailing slash, such as /v1."},
    )


class ModelDocument(Document):
    """models/<model id>: an AI model and how the gateway reaches it."""

    name = fields.String(
        required=True,
        validate=validate.Length(min=1, max=128),
        metadata={"description": "The unique name that clients send."},
    )
    provider = fields.String(required=True, validate=validate.OneOf(["openai"]))
    is_active = fields.Boolean(required=True)
    cost_per_call = decimal("Price of one successful call, a decimal string.")
    endpoint = fields.Nested(EndpointDocument, required=True)
    api_key = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The upstream key sealed for gateways, base64; null is none."},
    )
    parameters = raw_json("Parameter name to the raw JSON text of its value.")
    enforced_parameters = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Parameters that win over what the client sent."},
    )
