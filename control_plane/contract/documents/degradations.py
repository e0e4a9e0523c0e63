"""Section `degradations`."""

from typing import Any

from marshmallow import fields, validate

from control_plane.contract.documents.breakers import ENDPOINT
from control_plane.contract.documents.document import UUID, Document, uuid, whole

DEGRADATION_ACTIONS = ("timeout-increase", "feature-disable", "fallback")
FEATURES = ("stream",)
MOST_FACTOR = 100

RULE_NAME = whole(r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?")
"""What stands in a response header."""

CONTENT_TYPE = whole("[!-~]([ -~]{0,253}[!-~])?")


def _only(
    field: type[fields.Field[Any]], description: str, *validators: validate.Validator
) -> fields.Field[Any]:
    """Return a field that only rules of one action have; null is as if it were not there."""
    return field(
        allow_none=True,
        load_default=None,
        validate=list(validators),
        metadata={"description": description},
    )


class StaticAnswerDocument(Document):
    """What clients get without anybody being called."""

    status = fields.Integer(required=True, validate=validate.Range(200, 599))
    content_type = fields.String(required=True, validate=CONTENT_TYPE)
    body = fields.String(required=True, metadata={"description": "Sent as it stands here."})


class DegradationParametersDocument(Document):
    """How a rule's action is done: each rule has exactly one of these."""

    factor = _only(
        fields.Float,
        "`timeout-increase`: what timeouts are multiplied by.",
        validate.Range(1, MOST_FACTOR),
    )
    feature = _only(
        fields.String,
        "`feature-disable`: `stream`, answers that come in parts.",
        validate.OneOf(FEATURES),
    )
    endpoint = _only(
        fields.String,
        "`feature-disable`: the path, or the beginning of it up to a slash.",
        ENDPOINT,
    )
    model = _only(fields.String, "`fallback`: the model that is called instead.", UUID)
    upstream = _only(fields.String, "`fallback`: the upstream that is called instead.", UUID)
    answer = fields.Nested(
        StaticAnswerDocument,
        allow_none=True,
        load_default=None,
        metadata={"description": "`fallback`: what is answered instead, null with another action."},
    )


class DegradationRuleDocument(Document):
    """What becomes of a service's calls while the rule is in force."""

    id = uuid("The rule's own id: while the signal `degradation/<id>` stands, it is in force.")
    name = fields.String(
        required=True,
        validate=RULE_NAME,
        metadata={"description": "What the header X-Yumen-Degraded says."},
    )
    tenant = fields.String(
        required=True,
        allow_none=True,
        validate=UUID,
        metadata={"description": "Whose calls it is about; null is everybody's."},
    )
    action = fields.String(required=True, validate=validate.OneOf(DEGRADATION_ACTIONS))
    parameters = fields.Nested(DegradationParametersDocument, required=True)


class DegradationsDocument(Document):
    """degradations/<service key>: what is done while an AI model or an upstream is not well."""

    rules = fields.List(
        fields.Nested(DegradationRuleDocument),
        required=True,
        metadata={
            "description": "In the order in which they are asked; the first that is in force and "
            "fits a call is the only one that acts on it."
        },
    )
