"""AI models on the wire."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields, post_dump, validate

from control_plane.ai_models import parameters
from control_plane.core import base_urls
from control_plane.core.api import PageQuerySchema, Schema, SortField
from control_plane.core.auth import current_actor
from control_plane.core.decimals import DecimalString

PROVIDERS = ("openai",)
MAX_COST = "1000000000"
MAX_MULTIPLIER = "1000000"
MAX_CALLS = 2**53
_NAME = validate.Regexp(
    r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}\Z",
    error="Must be 1 to 128 of A-Z, a-z, 0-9 and . _ : / @ + -, and begin with a letter or digit.",
)
_FOR_OPERATORS = frozenset({"endpoint", "hasApiKey", "parameters", "enforcedParameters"})
# What an HTTP header may carry: anything else could not be sent to the upstream.
_API_KEY = validate.Regexp(
    r"[\x21-\x7e]{1,4096}\Z", error="Must be 1 to 4096 visible ASCII characters."
)


class EndpointUrl(fields.String):
    """A base URL; loaded in its one spelling. Where it leads is checked by the route."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        try:
            return base_urls.parse(text).url
        except ValueError as error:
            raise ValidationError(f"The endpoint {error}.") from error


class Parameters(fields.Dict):
    """A JSON object of parameters that are merged into requests."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValidationError("Must be a JSON object.")
        problems = parameters.problems(value)
        if problems:
            raise ValidationError(
                {name: [f"The parameter {problem}."] for name, problem in problems.items()}
            )
        return dict(value)


def _parameter_name(name: str) -> None:
    problem = parameters.name_problem(name)
    if problem:
        raise ValidationError(f"The name {problem}.")


def _each_once(names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise ValidationError("Must name each parameter once.")


class ModelSchema(Schema):
    """An AI model; its `apiKey` never comes back, and tenants do not see where it is served."""

    resource = "model"
    id = fields.UUID()
    name = fields.String()
    provider = fields.String()
    endpoint = fields.String()
    has_api_key = fields.Boolean()
    parameters = fields.Dict()
    enforced_parameters = fields.List(fields.String())
    cost_per_call = DecimalString(maximum=MAX_COST)
    is_active = fields.Boolean()
    creation_date = fields.AwareDateTime(attribute="created_at")
    updated_at = fields.AwareDateTime()

    @post_dump
    def _hide_from_tenants(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Where a model is served, and how, is the platform's matter."""
        if current_actor().tenant_id is None:
            return data
        return {name: value for name, value in data.items() if name not in _FOR_OPERATORS}


class ModelUpdateSchema(Schema):
    """An AI model as it shall be; without `apiKey` the stored key stays, null removes it."""

    resource = "model"
    name = fields.String(
        required=True, validate=_NAME, metadata={"description": "What clients send as `model`."}
    )
    provider = fields.String(
        required=True,
        validate=validate.OneOf(PROVIDERS),
        metadata={"description": "`openai` is any OpenAI-compatible server."},
    )
    endpoint = EndpointUrl(
        required=True,
        metadata={"description": "Base URL of the server.", "example": "https://api.openai.com/v1"},
    )
    api_key = fields.String(load_only=True, allow_none=True, validate=_API_KEY)
    parameters = Parameters(
        load_default=dict,
        metadata={"description": "Added to requests that do not set them; `model` goes upstream."},
    )
    enforced_parameters = fields.List(
        fields.String(validate=_parameter_name),
        load_default=list,
        validate=[validate.Length(max=256), _each_once],
        metadata={"description": "Parameters that win over what the client sent."},
    )
    cost_per_call = DecimalString(
        maximum=MAX_COST, required=True, metadata={"description": "Price of a successful call."}
    )
    is_active = fields.Boolean(load_default=True)


class ModelCreateSchema(ModelUpdateSchema):
    """A new AI model."""

    api_key = fields.String(load_only=True, allow_none=True, load_default=None, validate=_API_KEY)


class ModelQuerySchema(PageQuerySchema):
    """Which models to list."""

    resource = "model"
    is_active = fields.Boolean(load_default=None)
    sort = SortField("name", "costPerCall", creationDate="created_at")


class TenantModelSchema(Schema):
    """A tenant's use of a model."""

    resource = "tenantModel"
    id = fields.UUID(attribute="config.id")
    tenant_id = fields.UUID(attribute="config.tenant_id")
    model_id = fields.UUID(attribute="config.model_id")
    name = fields.String(attribute="model.name")
    provider = fields.String(attribute="model.provider")
    is_active = fields.Boolean(attribute="model.is_active")
    is_callable = fields.Boolean(
        metadata={"description": "It is active, and the tenant's `aiModelAccess` allows it."}
    )
    max_calls_per_day = fields.Integer(attribute="config.max_calls_per_day", allow_none=True)
    custom_parameters = fields.Dict(attribute="config.custom_parameters")
    cost_multiplier = DecimalString(maximum=MAX_MULTIPLIER, attribute="config.cost_multiplier")
    creation_date = fields.AwareDateTime(attribute="config.created_at")


class TenantModelUpdateSchema(Schema):
    """How a tenant shall call a model."""

    resource = "tenantModel"
    max_calls_per_day = fields.Integer(
        allow_none=True,
        load_default=None,
        validate=validate.Range(min=0, max=MAX_CALLS),
        metadata={"description": "null is no limit."},
    )
    custom_parameters = Parameters(
        load_default=dict, metadata={"description": "Win over the model's own parameters."}
    )
    cost_multiplier = DecimalString(
        maximum=MAX_MULTIPLIER,
        load_default=Decimal(1),
        metadata={"description": "Factor on the model's `costPerCall`."},
    )


class TenantModelCreateSchema(TenantModelUpdateSchema):
    """A model that a tenant may call from now on."""

    model_id = fields.UUID(required=True)


class TenantModelQuerySchema(PageQuerySchema):
    """Which of a tenant's models to list."""

    resource = "tenantModel"
    sort = SortField("costMultiplier", creationDate="created_at")
