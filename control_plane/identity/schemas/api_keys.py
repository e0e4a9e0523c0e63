"""Wire format of API keys."""

from typing import Any

from marshmallow import fields, validate

from control_plane.core.api import Schema
from control_plane.core.moments import Moment
from control_plane.identity.models import NewAPIKey


class APIKeyCreateSchema(Schema):
    """A new API key."""

    name = fields.String(required=True, validate=validate.Length(1, 100))
    expires_at = Moment(load_default=None, allow_none=True)


class APIKeySchema(Schema):
    """An API key, by which it can be told apart but not used."""

    id = fields.UUID()
    tenant_id = fields.UUID()
    name = fields.String()
    prefix = fields.String(metadata={"description": "How the key begins."})
    created_at = fields.AwareDateTime()
    expires_at = fields.AwareDateTime(allow_none=True)


class NewAPIKeySchema(APIKeySchema):
    """A new API key with its text, which is shown only this once."""

    key = fields.String()

    def get_attribute(self, obj: NewAPIKey, attr: str, default: Any) -> Any:
        """Take `key` from the text and the rest from the row."""
        return obj.text if attr == "key" else super().get_attribute(obj.row, attr, default)
