"""Wire format of the room tenants."""

import uuid
from collections.abc import Sequence
from typing import Any

from marshmallow import ValidationError, fields, post_dump, validate

from control_plane.core import masking, plugins
from control_plane.core.api import PageQuerySchema, Schema, SearchField, SortField, session
from control_plane.core.moments import Moment, TimeZone
from control_plane.tenants.models import DEFAULT_TIME_ZONE, EVERY_MODEL, Isolation, TenantStatus

_MAX_INTEGER = 2**31 - 1
_MAX_LIMIT = 2**53
_MAX_ENTRIES = 200
_MAX_MODELS = 1000


def _limit() -> fields.Integer:
    return fields.Integer(validate=validate.Range(1, _MAX_LIMIT))


class ApiCallLimitsSchema(Schema):
    """How much a tenant may call; what is not there is without limit."""

    resource = None
    requests_per_second = _limit()
    requests_per_minute = _limit()
    requests_per_day = _limit()
    requests_per_month = _limit()
    tokens_per_minute = _limit()
    concurrent = _limit()


class ModelId(fields.String):
    """The id of an AI model in its one spelling, or `*`."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        try:
            return text if text == EVERY_MODEL else str(uuid.UUID(text))
        except ValueError as error:
            raise ValidationError("Must be the id of an AI model, or * alone.") from error


def _sound_access(access: Sequence[str]) -> None:
    if EVERY_MODEL in access and len(access) > 1:
        raise ValidationError("* must stand alone: it is all models.")
    if len(set(access)) < len(access):
        raise ValidationError("Must name each model once.")


class ConfigurationUpdateSchema(Schema):
    """What a tenant may use, and how its applications look and behave."""

    resource = "tenantConfiguration"
    ai_model_access = fields.List(
        ModelId(),
        load_default=lambda: [EVERY_MODEL],
        validate=[validate.Length(max=_MAX_MODELS), _sound_access],
        metadata={
            "description": "Ids of the AI models that the tenant may call, of those configured for "
            'it; `[]` is none, `["*"]` all.'
        },
    )
    feature_flags = fields.Dict(
        keys=fields.String(validate=validate.Length(1, 100)),
        values=fields.Boolean(),
        load_default=dict,
        validate=validate.Length(max=_MAX_ENTRIES),
        metadata={"description": "Shown to everybody at /.well-known/yumen of its domains."},
    )
    ui_theme = fields.Dict(
        keys=fields.String(validate=validate.Length(1, 100)),
        values=fields.String(validate=validate.Length(max=1000)),
        load_default=dict,
        validate=validate.Length(max=_MAX_ENTRIES),
        metadata={"description": "Shown to everybody at /.well-known/yumen of its domains."},
    )
    api_call_limits = fields.Nested(ApiCallLimitsSchema, load_default=dict)


class ConfigurationSchema(ConfigurationUpdateSchema):
    """A tenant's configuration."""

    id = fields.UUID()
    tenant_id = fields.UUID()


class TenantUpdateSchema(Schema):
    """A tenant as it shall be."""

    resource = "tenant"
    name = fields.String(required=True, validate=validate.Length(1, 200))
    contact_person = fields.String(
        allow_none=True,
        load_default=None,
        validate=validate.Length(1, 200),
        metadata={"mask": masking.person},
    )
    contact_email = fields.Email(
        allow_none=True,
        load_default=None,
        validate=validate.Length(max=254),
        metadata={"mask": masking.email},
    )
    contact_phone = fields.String(
        allow_none=True,
        load_default=None,
        validate=validate.Length(1, 50),
        metadata={"mask": masking.phone},
    )
    expiry_date = Moment(
        allow_none=True,
        load_default=None,
        metadata={"description": "The tenant is served until then; null is without end."},
    )
    time_zone = TimeZone(
        load_default=DEFAULT_TIME_ZONE,
        metadata={"description": "Divides the tenant's time into days and months."},
    )
    max_users = fields.Integer(
        allow_none=True,
        load_default=None,
        validate=validate.Range(0, _MAX_INTEGER),
        metadata={"description": "How many users the tenant may have; null is without limit."},
    )
    max_storage = fields.Integer(
        allow_none=True,
        load_default=None,
        validate=validate.Range(0, _MAX_INTEGER),
        metadata={"description": "In megabytes; null is without limit."},
    )


class TenantCreateSchema(TenantUpdateSchema):
    """A new tenant; later its configuration is changed at /configuration."""

    isolation = fields.Enum(
        Isolation,
        by_value=True,
        load_default=Isolation.ROW,
        metadata={
            "description": "`schema`: its business data lies in a schema of its own (PostgreSQL). "
            "Later changed by `yumen tenant move` only."
        },
    )
    configurations = fields.Nested(ConfigurationUpdateSchema, load_default=dict)


class TenantSchema(TenantUpdateSchema):
    """A tenant."""

    id = fields.UUID()
    status = fields.Enum(
        TenantStatus,
        by_value=True,
        metadata={"description": "An expired or deleted tenant is inactive."},
    )
    suspension_reason = fields.String(allow_none=True)
    isolation = fields.Enum(Isolation, by_value=True)
    creation_date = fields.AwareDateTime()
    purge_date = fields.AwareDateTime(
        allow_none=True,
        metadata={"description": "When a deleted tenant's data goes; null: it is not deleted."},
    )
    configurations = fields.Nested(ConfigurationSchema)
    domains = fields.List(
        fields.Dict(), metadata={"description": "As at /domains, the oldest first."}
    )

    @post_dump(pass_collection=True)
    def _add_domains(self, data: Any, *, many: bool, **_: Any) -> Any:
        """Add what another room knows, by one query for a whole page."""
        if "domains" not in self.fields:
            return data
        tenants = data if many else [data]
        ids = [uuid.UUID(tenant["id"]) for tenant in tenants]
        domains = plugins.manager().hook.yumen_tenant_domains(session=session(), tenant_ids=ids)
        for tenant_id, tenant in zip(ids, tenants, strict=True):
            tenant["domains"] = domains.get(tenant_id, [])
        return data


class SuspendSchema(Schema):
    """Why a tenant is suspended."""

    resource = None
    reason = fields.String(load_default=None, allow_none=True, validate=validate.Length(1, 500))


class TenantQuerySchema(PageQuerySchema):
    """Which tenants to list."""

    resource = "tenant"
    status = fields.Enum(TenantStatus, by_value=True, load_default=None)
    q = SearchField("name", maximum=200)
    sort = SortField("name", "status", "creationDate", "expiryDate", "purgeDate")
