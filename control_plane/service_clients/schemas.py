"""Wire format of service clients and of their tokens."""

from marshmallow import Schema as PlainSchema
from marshmallow import fields, validate

from control_plane.core.api import PageQuerySchema, Schema, SortField
from control_plane.core.moments import Moment
from control_plane.core.rotation import ShowsSecret

DAY_SECONDS = 86400
LONGEST_GRACE_SECONDS = 30 * DAY_SECONDS


class ServiceClientUpdateSchema(Schema):
    """What can be changed of a service client."""

    resource = "serviceClient"
    name = fields.String(required=True, validate=validate.Length(1, 100))
    role = fields.String(
        required=True,
        validate=validate.Length(1, 50),
        metadata={"description": "`admin`, `operator`, `viewer` or the name of a custom role."},
    )
    is_active = fields.Boolean(load_default=True)
    expires_at = Moment(load_default=None, allow_none=True)


class ServiceClientCreateSchema(ServiceClientUpdateSchema):
    """A new service client."""

    tenant_id = fields.UUID(
        allow_none=True,
        load_default=None,
        metadata={"description": "null: the creator's own tenant, or the platform."},
    )


class ServiceClientRotateSchema(Schema):
    """For how long the former secret is still good."""

    resource = None
    grace_seconds = fields.Integer(
        load_default=DAY_SECONDS,
        validate=validate.Range(0, LONGEST_GRACE_SECONDS),
        metadata={"description": "0 ends it, and the tokens that it got, at once."},
    )


class ServiceClientSecretSchema(Schema):
    """A secret of a service client, by which it can be told apart but not used."""

    resource = None
    created_at = fields.AwareDateTime()
    expires_at = fields.AwareDateTime(
        allow_none=True, metadata={"description": "When it ends after a rotation."}
    )


class ServiceClientSchema(ServiceClientUpdateSchema):
    """A service client."""

    id = fields.UUID(metadata={"description": "What it sends as `client_id`."})
    tenant_id = fields.UUID(allow_none=True)
    creation_date = fields.AwareDateTime(attribute="created_at")
    rotated_at = fields.AwareDateTime(allow_none=True)
    last_used_at = fields.AwareDateTime(
        allow_none=True, metadata={"description": "When it last got an access token."}
    )
    secrets = fields.List(
        fields.Nested(ServiceClientSecretSchema),
        attribute="live_secrets",
        metadata={"description": "Those that are good now: two during a rotation."},
    )


class NewServiceClientSchema(ShowsSecret, ServiceClientSchema):
    """A service client with its new secret, which is shown only this once."""

    shown_as = "client_secret"
    client_secret = fields.String()


class ServiceClientQuerySchema(PageQuerySchema):
    """Which service clients to list."""

    resource = "serviceClient"
    tenant_id = fields.UUID(load_default=None)
    sort = SortField("name", "expiresAt", "lastUsedAt", creationDate="created_at")


class TokenRequestSchema(PlainSchema):
    """A request for an access token (RFC 6749 §4.4.2), with the names that OAuth 2.0 gives."""

    grant_type = fields.String(required=True, validate=validate.Equal("client_credentials"))
    client_id = fields.String(metadata={"description": "Here, or as the user of `Basic`."})
    client_secret = fields.String(metadata={"description": "Here, or as password of `Basic`."})
    scope = fields.String(
        metadata={
            "description": "Names of permissions, separated by spaces; without it all of the role."
        }
    )


class TokenSchema(PlainSchema):
    """An access token (RFC 6749 §5.1)."""

    access_token = fields.String(metadata={"description": "Send as `Authorization: Bearer …`."})
    token_type = fields.String(metadata={"description": "Always `Bearer`."})
    expires_in = fields.Integer(metadata={"description": "Seconds."})
    scope = fields.String(metadata={"description": "The permissions it gives."})


class TokenErrorSchema(PlainSchema):
    """Why there is no access token (RFC 6749 §5.2)."""

    error = fields.String()
    error_description = fields.String()
