"""Domains on the wire."""

from typing import Any

from marshmallow import ValidationError, fields, validate

from control_plane.core.api import PageQuerySchema, Schema, SortField
from control_plane.domains import names


class DomainName(fields.String):
    """A domain name in whatever form it was typed; loaded in its one normal form."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        try:
            return names.normalise(text)
        except ValueError as error:
            raise ValidationError(f"This {error}.") from error


class VerificationRecordSchema(Schema):
    """The DNS record that proves a domain."""

    resource = None
    type = fields.String()
    name = fields.String()
    value = fields.String()


class DomainSchema(Schema):
    """A tenant's domain."""

    resource = "domain"
    id = fields.UUID()
    tenant_id = fields.UUID()
    domain_name = fields.String()
    is_verified = fields.Boolean(metadata={"description": "Only a verified domain routes."})
    is_primary = fields.Boolean()
    ssl_enabled = fields.Boolean()
    creation_date = fields.AwareDateTime(attribute="created_at")
    verification_record = fields.Nested(VerificationRecordSchema)
    verification_method = fields.String(
        allow_none=True, metadata={"description": "`dns` or `manual`."}
    )
    verified_at = fields.AwareDateTime(allow_none=True)
    expires_at = fields.AwareDateTime(
        allow_none=True,
        metadata={"description": "When the claim is dropped, unless it is verified before."},
    )
    missing_since = fields.AwareDateTime(
        allow_none=True,
        metadata={
            "description": "Since when the DNS has not had the record; after seven days of that "
            "the domain stops routing."
        },
    )


class DomainCreateSchema(Schema):
    """A claim to a domain name."""

    resource = "domain"
    domain_name = DomainName(
        required=True,
        validate=validate.Length(max=names.MAX_LENGTH),
        metadata={
            "description": "A host name, or `*.` before one for all names of one more label; other "
            "scripts are turned into their xn-- form."
        },
    )
    is_primary = fields.Boolean(
        load_default=None,
        metadata={"description": "By default the tenant's first domain is its primary one."},
    )


class DomainVerifySchema(Schema):
    """How a domain is to be verified."""

    resource = None
    method = fields.String(
        load_default="dns",
        validate=validate.OneOf(["dns", "manual"]),
        metadata={"description": "`manual` is for platform operators."},
    )


class DomainQuerySchema(PageQuerySchema):
    """Which of a tenant's domains to list."""

    resource = "domain"
    is_verified = fields.Boolean(load_default=None)
    sort = SortField("domainName", creationDate="created_at")
