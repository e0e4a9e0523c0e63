"""Wire format of permissions and roles."""

from marshmallow import fields, validate

from control_plane.core.api import PageQuerySchema, Schema, SortField
from control_plane.core.auth import Role

_MOST_PERMISSIONS = 500


class PermissionSchema(Schema):
    """A right."""

    id = fields.String()
    name = fields.String()
    description = fields.String()
    resource_type = fields.String()
    actions = fields.List(fields.String())


class ListedPermissionSchema(PermissionSchema):
    """A right, and who can have it."""

    platform = fields.Boolean(metadata={"description": "Only users of the platform can have it."})
    least_role = fields.Enum(
        Role, by_value=True, metadata={"description": "The least built-in role that has it."}
    )


class RoleUpdateSchema(Schema):
    """What can be changed of a role."""

    name = fields.String(
        required=True,
        validate=validate.Regexp(
            r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,48}[^\s\x00-\x1f\x7f])?\Z",
            error="Must be 1 to 50 characters, without control characters or spaces around.",
        ),
    )
    description = fields.String(
        load_default=None, allow_none=True, validate=validate.Length(max=500)
    )
    permissions = fields.List(
        fields.String(validate=validate.Length(1, 100)),
        required=True,
        validate=validate.Length(max=_MOST_PERMISSIONS),
        metadata={"description": "Ids of permissions, see `GET /api/permissions`."},
    )


class RoleCreateSchema(RoleUpdateSchema):
    """A new role."""

    tenant_id = fields.UUID(
        allow_none=True,
        load_default=None,
        metadata={"description": "null: the creator's own tenant, or the platform."},
    )


class RoleSchema(Schema):
    """A role that was made; `admin`, `operator` and `viewer` are always there."""

    id = fields.UUID()
    tenant_id = fields.UUID(allow_none=True)
    name = fields.String()
    description = fields.String(allow_none=True)
    permissions = fields.List(fields.String())
    creation_date = fields.AwareDateTime()


class RoleQuerySchema(PageQuerySchema):
    """Which roles to list."""

    tenant_id = fields.UUID(load_default=None)
    sort = SortField("name", "creationDate")
