"""Section `credentials`."""

from marshmallow import fields, validate

from control_plane.contract.documents.document import NETWORK, Document, end, scope, uuid, whole


class CredentialDocument(Document):
    """credentials/<public id>: one secret of an API key, and what may be done with it."""

    tenant = uuid("The tenant that the key belongs to.")
    key = uuid("The API key's own id, as usage shows it.")
    digest = fields.String(
        required=True,
        validate=whole("[0-9a-f]{64}"),
        metadata={"description": "HMAC-SHA-256 of the whole key under the pepper, in hex."},
    )
    expires_at = end("Unix seconds from which the key is refused; null is never.")
    models = scope("Names of the models it may call; null is all.", validate.Length(1, 128))
    endpoints = scope("Endpoints it may ask for; null is all.", validate.Length(1, 128))
    methods = scope("HTTP methods it may use; null is all.", validate.Length(1, 16))
    addresses = scope("Networks (CIDR) it may come from; null is all.", NETWORK)
