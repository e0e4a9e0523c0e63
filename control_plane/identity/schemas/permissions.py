"""Wire format of permissions and roles."""

from marshmallow import fields, validate

from control_plane.core.api import PageQuerySchema, Schema, SortField
from control_plane.core.auth import Access, Role

_MOST_PERMISSIONS = 500


class PermissionSchema(Schema):
    """A right."""

    resource = "permission"
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


class FieldSchema(Schema):
    """A field that roles can keep from somebody."""

    resource = "field"
    id = fields.String()
    name = fields.String(metadata={"description": "`resource.field`."})
    access = fields.List(
        fields.Enum(Access, by_value=True),
        metadata={"description": "How much of it a role can give, the least first."},
    )


class RoleUpdateSchema(Schema):
    """What can be changed of a role."""

    resource = "role"
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
    field_permissions = fields.Dict(
        keys=fields.String(validate=validate.Length(1, 100)),
        values=fields.String(validate=validate.OneOf([each.value for each in Access])),
        load_default=dict,
        validate=validate.Length(max=_MOST_PERMISSIONS),
        metadata={
            "description": "What is kept of single fields, as `resource.field` to `none`, "
            "`masked`, `read` or `write`, see `GET /api/permissions/fields`. Other fields follow "
            "the permissions.",
            "example": {"tenant.contactEmail": "read"},
        },
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

    resource = "role"
    id = fields.UUID()
    tenant_id = fields.UUID(allow_none=True)
    name = fields.String()
    description = fields.String(allow_none=True)
    permissions = fields.List(fields.String())
    field_permissions = fields.Dict(keys=fields.String(), values=fields.String())
    creation_date = fields.AwareDateTime()


class RoleQuerySchema(PageQuerySchema):
    """Which roles to list."""

    resource = "role"
    tenant_id = fields.UUID(load_default=None)
    sort = SortField("name", "creationDate")
