"""Section `issuers`."""

from marshmallow import fields, validate

from control_plane.contract.documents.document import Document, uuid

ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""How tokens of end users may be signed (RFC 7518, RFC 8037)."""


class IssuerKeyDocument(Document):
    """A public key of an issuer."""

    kid = fields.String(
        allow_none=True,
        load_default=None,
        metadata={"description": "What tokens call it; null when the issuer's only key has no id."},
    )
    algorithm = fields.String(required=True, validate=validate.OneOf(ALGORITHMS))
    public_key = fields.String(
        required=True, metadata={"description": "SubjectPublicKeyInfo (DER), base64."}
    )


class IssuerDocument(Document):
    """Somebody whose tokens name a tenant's end users."""

    id = uuid("The issuer's own id, as usage shows it in the place of a key's.")
    issuer = fields.String(
        required=True,
        validate=validate.Length(1, 255),
        metadata={"description": "The claim `iss` of its tokens."},
    )
    audiences = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "A token's `aud` must name one of these."},
    )
    algorithms = fields.List(fields.String(), required=True)
    user_claim = fields.String(
        required=True, metadata={"description": "The claim that names the end user."}
    )
    leeway = fields.Integer(
        required=True, metadata={"description": "Seconds by which clocks may differ."}
    )
    keys = fields.List(fields.Nested(IssuerKeyDocument), required=True)


class IssuersDocument(Document):
    """issuers/<tenant id>: whose tokens are taken at the tenant's domains."""

    issuers = fields.List(fields.Nested(IssuerDocument), required=True)
