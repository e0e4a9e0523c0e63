"""Limits on the wire."""

import uuid
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

from control_plane.contract.documents import METERS, ON_OUTAGE, SCOPES, WINDOWS
from control_plane.contract.endpoints import ENDPOINTS
from control_plane.core.api import PageQuerySchema, Schema, SearchField, SortField

_MOST = 2**53
"""The largest number that the gateway counts exactly."""
_REFILLED = ("second", "minute", "hour")
"""Windows that are always equally long: a bucket is refilled by a steady part of one."""
_PRINTABLE = validate.Regexp(
    r"^[^\x00-\x1f\x7f]*\Z", error="Must not have control characters in it."
)


class IdText(fields.String):
    """An id, in its one spelling."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        try:
            return str(uuid.UUID(text))
        except ValueError as error:
            raise ValidationError("Must be an id (UUID).") from error


class RouteText(IdText):
    """The id of a route, or a built-in endpoint."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        if value in ENDPOINTS:
            return str(value)
        try:
            return super()._deserialize(value, *args, **kwargs)
        except ValidationError as error:
            known = ", ".join(ENDPOINTS)
            raise ValidationError(f"Must be the id of a route, or one of {known}.") from error


def _matched(kind: type[fields.String], description: str) -> fields.String:
    return kind(allow_none=True, load_default=None, metadata={"description": description})


class LimitMatchSchema(Schema):
    """Which requests a limit is about; what is null may be anything."""

    resource = None
    key = _matched(IdText, "The id of an API key of the tenant, or of an issuer.")
    user = fields.String(
        allow_none=True,
        load_default=None,
        validate=[validate.Length(1, 255), _PRINTABLE],
        metadata={"description": "An end user, as usage shows him in `userId`."},
    )
    route = _matched(RouteText, "The id of a route of the tenant, or a built-in endpoint.")
    model = _matched(IdText, "The id of an AI model.")


def _each_once(values: list[str]) -> None:
    if len(set(values)) < len(values):
        raise ValidationError("Must name each once.")


def _platform_alone(values: list[str]) -> None:
    if "platform" in values and len(values) > 1:
        raise ValidationError("`platform` must stand alone: it is one counter for all.")


class LimitUpdateSchema(Schema):
    """A limit as it shall be."""

    resource = "limit"
    name = fields.String(
        required=True,
        validate=[validate.Length(1, 100), _PRINTABLE],
        metadata={"description": "What a refused request is told."},
    )
    scope = fields.List(
        fields.String(validate=validate.OneOf(SCOPES)),
        required=True,
        validate=[validate.Length(min=1), _each_once, _platform_alone],
        metadata={
            "description": "There is a counter for each combination of these; `platform` is one "
            "for all. A request that has not all of them, such as one without an end user, is "
            "not counted."
        },
    )
    match = fields.Nested(LimitMatchSchema, load_default=lambda: LimitMatchSchema().load({}))
    meter = fields.String(
        load_default="requests",
        validate=validate.OneOf(METERS),
        metadata={"description": "`concurrency` is calls at one time."},
    )
    limit = fields.Integer(
        required=True,
        validate=validate.Range(0, _MOST),
        metadata={"description": "How many in a window; 0 lets nothing pass."},
    )
    window = fields.String(
        allow_none=True,
        load_default=None,
        validate=validate.OneOf(WINDOWS),
        metadata={
            "description": "Days and months are those of the tenant's time zone, of UTC without "
            "a tenant. null with `concurrency` only."
        },
    )
    burst = fields.Integer(
        allow_none=True,
        load_default=None,
        validate=validate.Range(1, _MOST),
        metadata={
            "description": "How many may come at once, when the allowance is refilled steadily by "
            "`limit` a `window` (token bucket); null: it begins anew with each window."
        },
    )
    on_outage = fields.String(
        load_default="local",
        validate=validate.OneOf(ON_OUTAGE),
        metadata={
            "description": "While Redis is away: `open` lets all pass, `closed` refuses (503), "
            "`local` holds each gateway node to the limit by itself."
        },
    )
    is_active = fields.Boolean(load_default=True)

    def check_whole(self, values: Mapping[str, Any]) -> None:
        """Refuse what is right by itself and makes no sense together."""
        errors: dict[str, list[str]] = {}
        window, burst = values["window"], values["burst"]
        if values["meter"] == "concurrency":
            if window is not None:
                errors["window"] = ["Must be null: `concurrency` counts calls at one time."]
            if burst is not None:
                errors["burst"] = ["Must be null: `concurrency` counts calls at one time."]
        elif window is None:
            errors["window"] = [f"Must be one of: {', '.join(WINDOWS)}."]
        elif burst is not None and window not in _REFILLED:
            errors["burst"] = [f"Must be null, or `window` one of: {', '.join(_REFILLED)}."]
        elif burst is not None and values["limit"] == 0:
            errors["burst"] = ["Must be null: a `limit` of 0 refills nothing."]
        if errors:
            raise ValidationError(errors)


class LimitCreateSchema(LimitUpdateSchema):
    """A new limit."""

    tenant_id = fields.UUID(
        allow_none=True,
        load_default=None,
        metadata={"description": "Whose requests it is about; null: those of all."},
    )


class LimitSchema(LimitUpdateSchema):
    """How much may pass the gateway."""

    id = fields.UUID()
    tenant_id = fields.UUID(allow_none=True)
    creation_date = fields.AwareDateTime(attribute="created_at")


class LimitQuerySchema(PageQuerySchema):
    """Which limits to list."""

    resource = "limit"
    tenant_id = fields.UUID(load_default=None)
    q = SearchField("name", maximum=100)
    sort = SortField("name", "meter", creationDate="created_at")
