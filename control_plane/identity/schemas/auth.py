"""Wire format of signing in and out."""

from marshmallow import fields, validate

from control_plane.core.api import Schema
from control_plane.identity.schemas import passwords


class LoginSchema(Schema):
    """Who signs in."""

    username = fields.String(required=True, validate=validate.Length(1, 100))
    password = passwords.existing_password()


class RefreshSchema(Schema):
    """The token that renews a sign-in."""

    refresh_token = fields.String(required=True, validate=validate.Length(1, 200))


class TokensSchema(Schema):
    """What a sign-in gives."""

    access_token = fields.String(metadata={"description": "Send as `Authorization: Bearer …`."})
    refresh_token = fields.String(metadata={"description": "Renews the sign-in once."})
    expires_in = fields.Integer(metadata={"description": "Seconds the access token is good for."})


class PasswordChangeSchema(Schema):
    """The old password and the new one."""

    current_password = passwords.existing_password()
    new_password = passwords.new_password(required=True)
