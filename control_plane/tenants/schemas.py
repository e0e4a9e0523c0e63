"""Wire format of the room tenants."""

from marshmallow import fields, validate

from control_plane.core.api import PageQuerySchema, Schema
from control_plane.core.moments import Moment
from control_plane.tenants.models import TenantStatus

_MAX_INTEGER = 2**31 - 1


class TenantConfigurationSchema(Schema):
    """A tenant's own switches and looks, kept for its applications."""

    feature_flags = fields.Dict(
        keys=fields.String(validate=validate.Length(1, 100)),
        values=fields.Boolean(),
        validate=validate.Length(max=200),
    )
    ui_theme = fields.Dict(
        keys=fields.String(validate=validate.Length(1, 100)),
        values=fields.String(validate=validate.Length(max=1000)),
        validate=validate.Length(max=200),
    )


class TenantFieldsSchema(Schema):
    """What is known of a tenant."""

    name = fields.String(required=True, validate=validate.Length(1, 200))
    contact_person = fields.String(allow_none=True, validate=validate.Length(1, 200))
    contact_email = fields.Email(allow_none=True, validate=validate.Length(max=254))
    contact_phone = fields.String(allow_none=True, validate=validate.Length(1, 50))
    expiry_date = Moment(
        allow_none=True,
        metadata={"description": "The tenant is served until then; null is without end."},
    )
    max_users = fields.Integer(
        allow_none=True,
        validate=validate.Range(0, _MAX_INTEGER),
        metadata={"description": "How many users the tenant may have; null is without limit."},
    )
    max_storage = fields.Integer(
        allow_none=True,
        validate=validate.Range(0, _MAX_INTEGER),
        metadata={"description": "In megabytes; null is without limit."},
    )


class TenantCreateSchema(TenantFieldsSchema):
    """A new tenant."""

    configurations = fields.Nested(TenantConfigurationSchema)


class TenantUpdateSchema(TenantCreateSchema):
    """Changes to a tenant; a field that is not there keeps its value."""

    name = fields.String(validate=validate.Length(1, 200))


class TenantSchema(TenantFieldsSchema):
    """A tenant."""

    id = fields.UUID()
    status = fields.Enum(TenantStatus, by_value=True)
    suspension_reason = fields.String(allow_none=True)
    creation_date = fields.AwareDateTime()
    configurations = fields.Nested(TenantConfigurationSchema)


class SuspendSchema(Schema):
    """Why a tenant is suspended."""

    reason = fields.String(load_default=None, allow_none=True, validate=validate.Length(1, 500))


class TenantQuerySchema(PageQuerySchema):
    """Which tenants to list."""

    status = fields.Enum(TenantStatus, by_value=True, load_default=None)
