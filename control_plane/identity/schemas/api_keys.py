"""Wire format of API keys."""

from typing import Any

from marshmallow import ValidationError, fields, validate

from control_plane.contract.endpoints import ENDPOINTS, METHODS
from control_plane.core.api import PageQuerySchema, Schema, SortField
from control_plane.core.moments import Moment
from control_plane.core.network_fields import Network
from control_plane.core.rotation import ShowsSecret

DAY_SECONDS = 86400
LONGEST_GRACE_SECONDS = 30 * DAY_SECONDS
MOST_ITEMS = 100
LONGEST_ROUTE_NAME = 60


class Limit(fields.List[str]):
    """What a key is limited to, each once; null is no limit, and an empty list is a mistake."""

    def __init__(self, item: fields.String, limits_to: str) -> None:
        super().__init__(
            item,
            load_default=None,
            allow_none=True,
            validate=validate.Length(
                1, MOST_ITEMS, error=f"Must have 1 to {MOST_ITEMS} items; null is no limit."
            ),
            metadata={"description": f"{limits_to}; null is no limit."},
        )

    def _deserialize(
        self, value: Any, attr: str | None, data: Any, **kwargs: Any
    ) -> list[str | None]:
        return list(dict.fromkeys(super()._deserialize(value, attr, data, **kwargs)))


def _models() -> Limit:
    return Limit(fields.String(validate=validate.Length(1, 128)), "Names of the models it may call")


def _is_an_endpoint(value: str) -> None:
    """Refuse what is neither the gateway's, nor can be the name of a route, which has no /."""
    if value not in ENDPOINTS and ("/" in value or not 1 <= len(value) <= LONGEST_ROUTE_NAME):
        raise ValidationError(f"Must be the name of a route, or one of: {', '.join(ENDPOINTS)}.")


def _endpoints() -> Limit:
    item = fields.String(validate=_is_an_endpoint)
    return Limit(
        item, "The gateway's endpoints, and the tenant's routes by name, that it may ask for"
    )


def _methods() -> Limit:
    return Limit(fields.String(validate=validate.OneOf(METHODS)), "HTTP methods it may use")


class APIKeyUpdateSchema(Schema):
    """What can be changed of an API key."""

    resource = "apiKey"
    name = fields.String(required=True, validate=validate.Length(1, 100))
    models = _models()
    endpoints = _endpoints()
    methods = _methods()
    addresses = Limit(Network(), "Addresses and networks (CIDR) it may come from")
    expires_at = Moment(load_default=None, allow_none=True)


class APIKeyCreateSchema(APIKeyUpdateSchema):
    """A new API key."""


class APIKeyRotateSchema(Schema):
    """For how long the former secret is still good."""

    resource = None
    grace_seconds = fields.Integer(
        load_default=DAY_SECONDS,
        validate=validate.Range(0, LONGEST_GRACE_SECONDS),
        metadata={"description": "0 ends it at once."},
    )


class APIKeySecretSchema(Schema):
    """A secret by which a key can be used."""

    resource = None
    prefix = fields.String(metadata={"description": "How its text begins."})
    created_at = fields.AwareDateTime()
    expires_at = fields.AwareDateTime(
        allow_none=True, metadata={"description": "When it ends after a rotation."}
    )


class APIKeySchema(APIKeyUpdateSchema):
    """An API key, by which it can be told apart but not used."""

    id = fields.UUID()
    tenant_id = fields.UUID()
    prefix = fields.String(metadata={"description": "How the newest secret's text begins."})
    created_at = fields.AwareDateTime()
    rotated_at = fields.AwareDateTime(allow_none=True)
    last_used_at = fields.AwareDateTime(
        allow_none=True, metadata={"description": "True to about a minute."}
    )
    secrets = fields.List(
        fields.Nested(APIKeySecretSchema),
        attribute="live_secrets",
        metadata={"description": "Those that are good now: two during a rotation."},
    )


class NewAPIKeySchema(ShowsSecret, APIKeySchema):
    """An API key with the text of its new secret, which is shown only this once."""

    shown_as = "key"
    key = fields.String()


class APIKeyQuerySchema(PageQuerySchema):
    """Which of a tenant's keys to list."""

    resource = "apiKey"
    sort = SortField("name", "createdAt", "expiresAt", "lastUsedAt")
