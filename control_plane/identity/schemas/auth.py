"""Wire format of signing in and out."""

from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from control_plane.core.api import PageQuerySchema, Schema, SortField
from control_plane.core.auth import current_actor
from control_plane.identity.schemas import passwords


class LoginSchema(Schema):
    """Who signs in."""

    resource = None
    username = fields.String(required=True, validate=validate.Length(1, 100))
    password = passwords.existing_password()


class RefreshSchema(Schema):
    """The token that renews a sign-in."""

    resource = None
    refresh_token = fields.String(required=True, validate=validate.Length(1, 200))


class TokensSchema(Schema):
    """What a sign-in gives."""

    resource = None
    access_token = fields.String(metadata={"description": "Send as `Authorization: Bearer …`."})
    refresh_token = fields.String(metadata={"description": "Renews the sign-in once."})
    expires_in = fields.Integer(metadata={"description": "Seconds the access token is good for."})


class PasswordChangeSchema(Schema):
    """The old password and the new one."""

    resource = None
    current_password = passwords.existing_password()
    new_password = passwords.new_password(required=True)


class PasswordResetSchema(Schema):
    """Who has forgotten his password: either field names him."""

    resource = None
    username = fields.String(validate=validate.Length(1, 100))
    email = fields.String(validate=validate.Length(1, 254))

    @validates_schema
    def _one_of_them(self, data: dict[str, Any], **_: Any) -> None:
        if len(data) != 1:
            raise ValidationError("Send either username or email.", "username")


class MailedTokenSchema(Schema):
    """The token of a mail, and the password that its reader chooses."""

    resource = None
    token = fields.String(required=True, load_only=True, validate=validate.Length(1, 200))
    new_password = passwords.new_password(required=True)


class SignInSchema(Schema):
    """A sign-in that has not ended."""

    resource = "signIn"
    id = fields.UUID()
    network = fields.String(
        allow_none=True, metadata={"description": "Where it was opened: /24 of IPv4, /64 of IPv6."}
    )
    user_agent = fields.String(allow_none=True)
    created_at = fields.AwareDateTime()
    current = fields.Function(
        lambda opened: opened.id == current_actor().sign_in_id,
        metadata={"type": "boolean", "description": "This request was made in it."},
    )


class SignInQuerySchema(PageQuerySchema):
    """Which sign-ins to list."""

    resource = "signIn"
    sort = SortField("createdAt")
