"""The documents that the control plane publishes and the gateway obeys, one schema a section.

A reader ignores what it does not know and a schema keeps it (`unknown = INCLUDE`), so that a newer
control plane never breaks an older gateway: within one contract version fields are only added.
"""

from typing import Any

from marshmallow import INCLUDE, Schema, fields, validate


def camel_case(name: str) -> str:
    """Return the wire form of a snake_case *name*: `cost_per_call` becomes `costPerCall`."""
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


class Document(Schema):
    """Base of every document: camelCase on the wire, unknown fields kept."""

    class Meta:  # noqa: D106 - marshmallow's own convention
        unknown = INCLUDE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Give each field its wire name."""
        field_obj.data_key = camel_case(field_obj.data_key or field_name)


def _whole(pattern: str) -> validate.Regexp:
    """Match a whole string in Python, PCRE and ECMAScript (Python's `$` lets a newline pass)."""
    return validate.Regexp(f"^{pattern}$(?!\\n)")


UUID = _whole("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DECIMAL = _whole(r"[0-9]{1,20}(\.[0-9]{1,12})?")
NETWORK = _whole("[0-9a-f:.]{2,45}/[0-9]{1,3}")


def _uuid(description: str) -> fields.String:
    return fields.String(required=True, validate=UUID, metadata={"description": description})


def _decimal(description: str) -> fields.String:
    return fields.String(required=True, validate=DECIMAL, metadata={"description": description})


def _end(description: str) -> fields.Integer:
    return fields.Integer(allow_none=True, load_default=None, metadata={"description": description})


def _scope(description: str, validator: validate.Validator) -> fields.List[Any]:
    """Return a list that allows what it names; null, as before there were lists, allows all."""
    return fields.List(
        fields.String(validate=validator),
        allow_none=True,
        load_default=None,
        metadata={"description": description},
    )


def _raw_json(description: str) -> fields.Dict:
    return fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": description},
    )


class HostDocument(Document):
    """hosts/<host name>: whose requests arrive at this name."""

    tenant = _uuid("The tenant that owns the verified domain.")


class TenantModelDocument(Document):
    """One entry of a tenant's `models`: how this tenant calls one model."""

    model = _uuid("The id of the document in section models.")
    parameters = _raw_json(
        "Parameter name to the raw JSON text of its value; wins over the model's parameters."
    )
    cost_multiplier = _decimal("Factor on the model's costPerCall, a decimal string.")
    max_calls_per_day = fields.Integer(
        allow_none=True,
        load_default=None,
        validate=validate.Range(min=0),
        metadata={"description": "Calls a day in the tenant's time zone; null is no limit."},
    )


class TenantDocument(Document):
    """tenants/<tenant id>: may this tenant be served, and which models may it call."""

    status = fields.String(
        required=True,
        validate=validate.OneOf(["active", "inactive", "suspended"]),
        metadata={"description": "Only an active tenant is served."},
    )
    expires_at = _end("Unix seconds from which the tenant is not served; null is never.")
    models = fields.Dict(
        keys=fields.String(),
        values=fields.Nested(TenantModelDocument),
        required=True,
        metadata={"description": "Model name, as clients send it, to the tenant's settings."},
    )


class CredentialDocument(Document):
    """credentials/<public id>: one secret of an API key, and what may be done with it."""

    tenant = _uuid("The tenant that the key belongs to.")
    key = _uuid("The API key's own id, as usage shows it.")
    digest = fields.String(
        required=True,
        validate=_whole("[0-9a-f]{64}"),
        metadata={"description": "HMAC-SHA-256 of the whole key under the pepper, in hex."},
    )
    expires_at = _end("Unix seconds from which the key is refused; null is never.")
    models = _scope("Names of the models it may call; null is all.", validate.Length(1, 128))
    endpoints = _scope("Endpoints it may ask for; null is all.", validate.Length(1, 128))
    methods = _scope("HTTP methods it may use; null is all.", validate.Length(1, 16))
    addresses = _scope("Networks (CIDR) it may come from; null is all.", NETWORK)


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

    id = _uuid("The issuer's own id, as usage shows it in the place of a key's.")
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
        validate=_whole(r"(/[^\s?#]*)?"),
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
    cost_per_call = _decimal("Price of one successful call, a decimal string.")
    endpoint = fields.Nested(EndpointDocument, required=True)
    api_key = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The upstream key sealed for gateways, base64; null is none."},
    )
    parameters = _raw_json("Parameter name to the raw JSON text of its value.")
    enforced_parameters = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Parameters that win over what the client sent."},
    )


SECTIONS: dict[str, type[Document]] = {
    "hosts": HostDocument,
    "tenants": TenantDocument,
    "profiles": ProfileDocument,
    "credentials": CredentialDocument,
    "issuers": IssuersDocument,
    "models": ModelDocument,
}
"""Section name to the schema of its documents."""
