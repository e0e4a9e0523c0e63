"""Wire format of users."""

from marshmallow import fields, validate

from control_plane.core import masking
from control_plane.core.api import PageQuerySchema, Schema, SearchField, SortField
from control_plane.identity import names
from control_plane.identity.models import UserStatus
from control_plane.identity.schemas import passwords
from control_plane.identity.schemas.permissions import PermissionSchema


class Username(fields.String):
    """A name to sign in with."""

    default_error_messages = {  # noqa: RUF012 - marshmallow's form
        "unusable": "Must be 1 to 100 printable characters, without spaces and colons."
    }

    def _deserialize(self, value: object, *args: object, **kwargs: object) -> str:
        username: str = super()._deserialize(value, *args, **kwargs)
        if not names.is_usable(username):
            raise self.make_error("unusable")
        return username


def email() -> fields.Email:
    """Return a field for an e-mail address, in the form that every mail server understands."""
    return fields.Email(
        load_default=None,
        allow_none=True,
        validate=[
            validate.Length(max=254),
            validate.Regexp(r"[\x21-\x7e]+\Z", error="Must be of ASCII characters."),
        ],
        metadata={"mask": masking.email},
    )


class UserUpdateSchema(Schema):
    """What can be changed of a user. A password that is not sent stays as it is."""

    resource = "user"
    username = Username(required=True, metadata={"minLength": 1, "maxLength": 100})
    email = email()
    role = fields.String(
        required=True,
        validate=validate.Length(1, 50),
        metadata={"description": "`admin`, `operator`, `viewer` or the name of a custom role."},
    )
    password = passwords.new_password()


class UserCreateSchema(UserUpdateSchema):
    """A new user; without a password he gets an invitation by mail and chooses one himself."""

    tenant_id = fields.UUID(
        allow_none=True,
        load_default=None,
        metadata={"description": "null: the creator's own tenant, or the platform."},
    )


class UserSchema(Schema):
    """A user."""

    resource = "user"
    id = fields.UUID()
    tenant_id = fields.UUID(allow_none=True)
    username = fields.String()
    email = fields.String(allow_none=True, metadata={"mask": masking.email})
    role = fields.String()
    status = fields.Enum(UserStatus, by_value=True)
    permissions = fields.List(fields.Nested(PermissionSchema))
    last_login = fields.AwareDateTime(allow_none=True)
    creation_date = fields.AwareDateTime()


class UserQuerySchema(PageQuerySchema):
    """Which users to list."""

    resource = "user"
    tenant_id = fields.UUID(load_default=None)
    role = fields.String(load_default=None, validate=validate.Length(1, 50))
    status = fields.Enum(UserStatus, by_value=True, load_default=None)
    q = SearchField("email", username="username_key", maximum=100)
    sort = SortField("username", "email", "status", "lastLogin", "creationDate")
