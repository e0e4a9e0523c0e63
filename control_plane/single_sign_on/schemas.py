"""Wire format of identity providers and of signing in at them."""

import re
from typing import Any

from marshmallow import EXCLUDE, ValidationError, fields, validate

from control_plane.core import base_urls
from control_plane.core.api import PageQuerySchema, QuerySchema, Schema, SortField, settings
from control_plane.single_sign_on.models import IdentityProvider

SCOPES = ("openid", "email", "profile")
_MOST_ITEMS = 50
_LONGEST_PATH = 500
_LOCAL_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
_VISIBLE = validate.Regexp(r"[\x21-\x7e]+\Z", error="Must be visible ASCII characters.")
_DOMAIN = validate.Regexp(
    r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}\Z",
    error="Must be a domain name such as example.com.",
)


class Issuer(fields.String):
    """The name of an issuer, a URL that is kept as it is written: providers compare it so."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, *args, **kwargs)
        try:
            base_urls.parse(text)
        except ValueError as error:
            raise ValidationError(f"The issuer {error}.") from error
        return text


class LowerCase(fields.String):
    """A text in small letters."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, *args, **kwargs)
        return text.lower()


class LocalPath(fields.String):
    """A path on this server: what a browser could take for another one is refused."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, *args, **kwargs)
        if len(text) > _LONGEST_PATH or not _LOCAL_PATH.fullmatch(text):
            raise ValidationError("Must be a path on this server, such as /console?page=2.")
        return text


def _openid(scopes: list[str]) -> None:
    if "openid" not in scopes:
        raise ValidationError("Must hold openid.")


def _secret(**options: Any) -> fields.String:
    return fields.String(
        load_only=True,
        allow_none=True,
        validate=[validate.Length(1, 1024), _VISIBLE],
        metadata={"description": "Never comes back."},
        **options,
    )


class IdentityProviderUpdateSchema(Schema):
    """An identity provider as it shall be; without `clientSecret` the stored one stays."""

    resource = "identityProvider"
    name = fields.String(
        required=True,
        validate=validate.Length(1, 100),
        metadata={"description": "What a sign-in page calls it."},
    )
    issuer = Issuer(
        required=True,
        metadata={"description": "As it calls itself.", "example": "https://accounts.google.com"},
    )
    client_id = fields.String(required=True, validate=[validate.Length(1, 255), _VISIBLE])
    client_secret = _secret()
    scopes = fields.List(
        fields.String(validate=[validate.Length(1, 100), _VISIBLE]),
        load_default=lambda: list(SCOPES),
        validate=[validate.Length(max=_MOST_ITEMS), _openid],
    )
    default_role = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 50),
        metadata={"description": "Of users whom a first sign-in creates; null creates none."},
    )
    allowed_email_domains = fields.List(
        LowerCase(validate=_DOMAIN),
        load_default=list,
        validate=validate.Length(max=_MOST_ITEMS),
        metadata={"description": "Whose verified addresses may sign in; empty: all."},
    )
    is_active = fields.Boolean(load_default=True)


class IdentityProviderCreateSchema(IdentityProviderUpdateSchema):
    """A new identity provider."""

    client_secret = _secret(load_default=None)
    tenant_id = fields.UUID(
        allow_none=True,
        load_default=None,
        metadata={"description": "null: the creator's own tenant, or the platform."},
    )


def callback_of(provider: IdentityProvider) -> str:
    """Return the address that a provider sends browsers back to."""
    return f"{settings().public_url}/api/auth/providers/{provider.id}/callback"


class IdentityProviderSchema(IdentityProviderUpdateSchema):
    """An identity provider."""

    id = fields.UUID()
    tenant_id = fields.UUID(allow_none=True)
    has_client_secret = fields.Boolean()
    redirect_uri = fields.Function(
        callback_of,
        metadata={"type": "string", "description": "What to register at the provider."},
    )
    creation_date = fields.AwareDateTime(attribute="created_at")


class IdentityProviderQuerySchema(PageQuerySchema):
    """Which identity providers to list."""

    resource = "identityProvider"
    tenant_id = fields.UUID(load_default=None)
    sort = SortField("name", creationDate="created_at")


class OfferSchema(Schema):
    """An identity provider as a sign-in page shows it."""

    resource = None
    id = fields.UUID()
    name = fields.String()


class OfferQuerySchema(QuerySchema):
    """Whose sign-in page it is."""

    tenant = fields.String(
        load_default=None,
        validate=validate.Length(1, 253),
        metadata={"description": "Id or verified domain of a tenant; without it the platform."},
    )


class BeginQuerySchema(QuerySchema):
    """Where the browser goes afterwards."""

    return_to = LocalPath(
        load_default="/", metadata={"description": "A path on this server.", "example": "/"}
    )


class CallbackQuerySchema(QuerySchema):
    """What a provider sends the browser back with; what else it adds is not looked at."""

    class Meta:
        """Providers add parameters of their own."""

        unknown = EXCLUDE

    state = fields.String(required=True, validate=validate.Length(1, 200))
    code = fields.String(load_default=None, validate=validate.Length(1, 4096))
    iss = fields.String(load_default=None, validate=validate.Length(1, 1024))
    error = fields.String(load_default=None, validate=validate.Length(1, 200))


class ExchangeSchema(Schema):
    """What the browser came back with."""

    resource = None
    code = fields.String(required=True, load_only=True, validate=validate.Length(1, 200))
    state = fields.String(required=True, load_only=True, validate=validate.Length(1, 200))
