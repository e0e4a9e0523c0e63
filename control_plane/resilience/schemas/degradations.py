"""Degradation rules on the wire."""

import math
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

from control_plane.contract.documents import FEATURES, MOST_FACTOR
from control_plane.core.api import PageQuerySchema, Schema, SortField
from control_plane.resilience import conditions
from control_plane.resilience.schemas.parts import (
    ENDPOINT,
    MOST_SECONDS,
    count,
    owner,
    service_field,
)

FACTOR, FEATURE, FALLBACK = "timeout-increase", "feature-disable", "fallback"
PARAMETERS: dict[str, tuple[str, ...]] = {
    FACTOR: ("factor",),
    FEATURE: ("feature", "endpoint"),
    FALLBACK: ("model", "upstream", "answer"),
}
"""Action to its parameters, of which it needs exactly one."""
LONGEST_BODY = 16_384
LEAST_TTL_SECONDS = 10
_NAME = validate.Regexp(
    r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?\Z",
    error="Must be 1 to 64 of A-Z, a-z, 0-9, space and . _ - with a letter or digit at both ends: "
    "it stands in a response header.",
)


class Condition(fields.String):
    """A condition in CEL, checked."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, *args, **kwargs)
        try:
            conditions.parse(text)
        except conditions.ConditionError as error:
            raise ValidationError(str(error)) from error
        return text


class Factor(fields.Float):
    """What something is multiplied by."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValidationError("Must be a number.")
        return super()._deserialize(value, *args, **kwargs)


class StaticAnswerSchema(Schema):
    """What clients get without anybody being called."""

    resource = None
    status = fields.Integer(load_default=503, validate=validate.Range(200, 599))
    content_type = fields.String(
        load_default="application/json",
        validate=validate.Regexp(
            r"[a-z0-9.+-]{1,64}/[a-z0-9.+-]{1,64}(; ?charset=[A-Za-z0-9-]{1,40})?\Z",
            error="Must be a media type such as text/plain; charset=utf-8.",
        ),
    )
    body = fields.String(required=True, validate=validate.Length(max=LONGEST_BODY))


class ParametersSchema(Schema):
    """How an action is done."""

    resource = None
    factor = Factor(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, MOST_FACTOR, min_inclusive=False),
        metadata={"description": f"`{FACTOR}`: what timeouts are multiplied by."},
    )
    feature = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf(FEATURES),
        metadata={"description": f"`{FEATURE}`: `stream`, the answers that come in parts."},
    )
    endpoint = fields.String(
        load_default=None,
        allow_none=True,
        validate=ENDPOINT,
        metadata={"description": f"`{FEATURE}`: a path, or the beginning of it up to a slash."},
    )
    model = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 200),
        metadata={"description": f"`{FALLBACK}`: the AI model that is called instead, by name."},
    )
    upstream = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 200),
        metadata={"description": f"`{FALLBACK}`: the upstream that is called instead, by name."},
    )
    answer = fields.Nested(
        StaticAnswerSchema,
        load_default=None,
        allow_none=True,
        metadata={"description": f"`{FALLBACK}`: what is answered instead."},
    )


class DegradationRuleUpdateSchema(Schema):
    """A degradation rule as it shall be."""

    resource = "degradationRule"
    name = fields.String(
        required=True,
        validate=_NAME,
        metadata={"description": "What the header X-Yumen-Degraded says.", "example": "slow gpt"},
    )
    service_name = service_field()
    condition = Condition(
        required=True,
        metadata={
            "description": f"CEL over {', '.join(conditions.METRICS)}.",
            "example": "errorRate > 50 && rate > 1",
            "maxLength": conditions.LONGEST,
        },
    )
    clear_condition = Condition(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "CEL; what must hold beside `condition` not holding for the rule to "
            "end. null: nothing.",
            "maxLength": conditions.LONGEST,
        },
    )
    for_seconds = count(
        10, MOST_SECONDS, "How long `condition` holds before the rule is in force.", least=0
    )
    clear_for_seconds = count(
        30, MOST_SECONDS, "How long it must be over before the rule ends.", least=0
    )
    ttl_seconds = count(
        60,
        MOST_SECONDS,
        "How long gateways obey it when nobody confirms it.",
        least=LEAST_TTL_SECONDS,
    )
    action = fields.String(required=True, validate=validate.OneOf(tuple(PARAMETERS)))
    parameters = fields.Nested(
        ParametersSchema,
        required=True,
        metadata={"description": "Exactly one of those of the action.", "example": {"factor": 2}},
    )
    dry_run = fields.Boolean(
        load_default=False,
        metadata={"description": "Tell when it would be in force, and do nothing."},
    )
    enabled = fields.Boolean(
        load_default=True, metadata={"description": "false: its condition is not looked at."}
    )

    def check_whole(self, values: Mapping[str, Any]) -> None:
        """Refuse parameters that are not the action's."""
        action = values["action"]
        allowed = PARAMETERS[action]
        given = [name for name, value in values["parameters"].items() if value is not None]
        for name in given:
            if name not in allowed:
                problem = f"{action} has {' or '.join(allowed)}."
                raise ValidationError({"parameters": {name: [problem]}})
        if len(given) != 1:
            few = "" if len(allowed) == 1 else "exactly one of "
            raise ValidationError(f"{action} needs {few}{', '.join(allowed)}.", "parameters")


class DegradationRuleCreateSchema(DegradationRuleUpdateSchema):
    """A new degradation rule."""

    tenant_id = owner()


class DegradationRuleSchema(DegradationRuleUpdateSchema):
    """A degradation rule."""

    id = fields.UUID()
    tenant_id = fields.UUID(allow_none=True)
    creation_date = fields.AwareDateTime(attribute="created_at")
    active = fields.Boolean(
        attribute="standing.active",
        allow_none=True,
        metadata={
            "description": "Whether it is in force, as the worker reports; with `dryRun` whether "
            "it would be. null: not known now."
        },
    )
    since = fields.AwareDateTime(
        attribute="standing.since",
        allow_none=True,
        metadata={"description": "Since when it is."},
    )
    reason = fields.String(
        attribute="standing.reason",
        allow_none=True,
        metadata={
            "description": "Why it is, or why that is not known.",
            "example": "errorRate = 61.2, rate = 3.1 for 10 s",
        },
    )


class DegradationRuleQuerySchema(PageQuerySchema):
    """Which degradation rules to list."""

    resource = "degradationRule"
    tenant_id = fields.UUID(load_default=None)
    sort = SortField("name", creationDate="created_at")
