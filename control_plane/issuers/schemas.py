"""Issuers on the wire."""

from typing import Any

from marshmallow import ValidationError, fields, validate

from control_plane.contract.documents import ALGORITHMS
from control_plane.core import base_urls
from control_plane.core.api import PageQuerySchema, Schema, SortField

_MOST_LEEWAY = 300
_MOST_AUDIENCES = 20


class Url(fields.String):
    """A URL as it was typed; where it leads is checked by the route."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        try:
            base_urls.parse(text)
        except ValueError as error:
            raise ValidationError(f"The URL {error}.") from error
        return text


def _each_once(values: list[str]) -> None:
    if len(set(values)) < len(values):
        raise ValidationError("Must name each once.")


class IssuerUpdateSchema(Schema):
    """An issuer as it shall be."""

    resource = "issuer"
    issuer = Url(
        required=True,
        validate=validate.Length(max=255),
        metadata={
            "description": "The claim `iss` of its tokens, character by character.",
            "example": "https://login.example.com",
        },
    )
    jwks_url = Url(
        allow_none=True,
        load_default=None,
        validate=validate.Length(max=1024),
        metadata={
            "description": "Where its keys (JWK Set) are; null: where "
            "`<issuer>/.well-known/openid-configuration` says."
        },
    )
    audiences = fields.List(
        fields.String(validate=validate.Length(1, 255)),
        required=True,
        validate=[validate.Length(1, _MOST_AUDIENCES), _each_once],
        metadata={"description": "The claim `aud` of a token must name one of these."},
    )
    algorithms = fields.List(
        fields.String(validate=validate.OneOf(ALGORITHMS)),
        load_default=lambda: list(ALGORITHMS),
        validate=[validate.Length(min=1), _each_once],
        metadata={"description": "How its tokens may be signed."},
    )
    user_claim = fields.String(
        load_default="sub",
        validate=validate.Length(1, 100),
        metadata={"description": "The claim that usage shows as `userId`."},
    )
    clock_leeway = fields.Integer(
        load_default=30,
        validate=validate.Range(0, _MOST_LEEWAY),
        metadata={"description": "Seconds by which its clock may differ from the gateway's."},
    )
    is_active = fields.Boolean(load_default=True)


class IssuerKeySchema(Schema):
    """A public key of an issuer."""

    resource = None
    kid = fields.String(allow_none=True)
    algorithm = fields.String()


class IssuerSchema(IssuerUpdateSchema):
    """Somebody whose tokens are taken at a tenant's domains."""

    id = fields.UUID()
    tenant_id = fields.UUID()
    keys = fields.List(
        fields.Nested(IssuerKeySchema),
        attribute="key_set.keys",
        metadata={"description": "As they were fetched last; without one no token is taken."},
    )
    keys_fetched_at = fields.AwareDateTime(allow_none=True, attribute="key_set.fetched_at")
    keys_error = fields.String(
        allow_none=True,
        attribute="key_set.error",
        metadata={"description": "Why they could not be fetched the last time."},
    )
    creation_date = fields.AwareDateTime(attribute="created_at")


class IssuerQuerySchema(PageQuerySchema):
    """Which of a tenant's issuers to list."""

    resource = "issuer"
    sort = SortField("issuer", creationDate="created_at")
