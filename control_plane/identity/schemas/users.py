"""Wire format of users."""

from marshmallow import fields, validate

from control_plane.core.api import PageQuerySchema, Schema
from control_plane.core.auth import Role
from control_plane.identity import permissions
from control_plane.identity.models import UserStatus
from control_plane.identity.schemas import passwords


class UserUpdateSchema(Schema):
    """Changes to a user; a field that is not there keeps its value."""

    username = fields.String(validate=validate.Regexp(r"[^\s:]{1,100}\Z"))
    email = fields.Email(allow_none=True, validate=validate.Length(max=254))
    role = fields.Enum(Role, by_value=True)
    password = passwords.new_password()


class UserCreateSchema(UserUpdateSchema):
    """A new user."""

    username = fields.String(required=True, validate=validate.Regexp(r"[^\s:]{1,100}\Z"))
    role = fields.Enum(Role, by_value=True, required=True)
    password = passwords.new_password(required=True)
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
