"""Wire format of the room identity."""

from typing import Any

from marshmallow import fields, validate

from control_plane.core.api import PageQuerySchema, Schema
from control_plane.core.auth import Role
from control_plane.core.moments import Moment
from control_plane.identity import permissions
from control_plane.identity.models import NewAPIKey, UserStatus

MINIMUM_LENGTH = 10
MAXIMUM_LENGTH = 200


def _password(*, required: bool = False) -> fields.String:
    return fields.String(
        required=required,
        load_only=True,
        validate=validate.Length(MINIMUM_LENGTH, MAXIMUM_LENGTH),
    )


def _any_password() -> fields.String:
    """Return a field for a password that exists, which may be older than today's rules."""
    return fields.String(required=True, load_only=True, validate=validate.Length(1, 1000))


class LoginSchema(Schema):
    """Who signs in."""

    username = fields.String(required=True, validate=validate.Length(1, 100))
    password = _any_password()


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

    current_password = _any_password()
    new_password = _password(required=True)


class UserUpdateSchema(Schema):
    """Changes to a user; a field that is not there keeps its value."""

    username = fields.String(validate=validate.Regexp(r"[^\s:]{1,100}\Z"))
    email = fields.Email(allow_none=True, validate=validate.Length(max=254))
    role = fields.Enum(Role, by_value=True)
    password = _password()


class UserCreateSchema(UserUpdateSchema):
    """A new user."""

    username = fields.String(required=True, validate=validate.Regexp(r"[^\s:]{1,100}\Z"))
    role = fields.Enum(Role, by_value=True, required=True)
    password = _password(required=True)
    tenant_id = fields.UUID(
        allow_none=True,
        load_default=None,
        metadata={"description": "null: the creator's own tenant, or the platform."},
    )


class UserSchema(Schema):
    """A user."""

    id = fields.UUID()
    tenant_id = fields.UUID(allow_none=True)
    username = fields.String()
    email = fields.String(allow_none=True)
    role = fields.Enum(Role, by_value=True)
    status = fields.Enum(UserStatus, by_value=True)
    permissions = fields.Function(
        lambda user: sorted(permissions.of_role(user.role, user.tenant_id)),
        metadata={"type": "array", "items": {"type": "string"}},
    )
    last_login = fields.AwareDateTime(allow_none=True)
    creation_date = fields.AwareDateTime()


class UserQuerySchema(PageQuerySchema):
    """Which users to list."""

    tenant_id = fields.UUID(load_default=None)


class APIKeyCreateSchema(Schema):
    """A new API key."""

    name = fields.String(required=True, validate=validate.Length(1, 100))
    expires_at = Moment(load_default=None, allow_none=True)


class APIKeySchema(Schema):
    """An API key, by which it can be told apart but not used."""

    id = fields.UUID()
    tenant_id = fields.UUID()
    name = fields.String()
    prefix = fields.String(metadata={"description": "How the key begins."})
    created_at = fields.AwareDateTime()
    expires_at = fields.AwareDateTime(allow_none=True)


class NewAPIKeySchema(APIKeySchema):
    """A new API key with its text, which is shown only this once."""

    key = fields.String()

    def get_attribute(self, obj: NewAPIKey, attr: str, default: Any) -> Any:
        """Take `key` from the text and the rest from the row."""
        return obj.text if attr == "key" else super().get_attribute(obj.row, attr, default)
