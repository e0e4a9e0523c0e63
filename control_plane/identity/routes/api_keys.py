"""HTTP of API keys."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, PageQuerySchema, session
from control_plane.core.pagination import Page
from control_plane.identity import permissions
from control_plane.identity.models import APIKey, NewAPIKey
from control_plane.identity.schemas.api_keys import (
    APIKeyCreateSchema,
    APIKeySchema,
    NewAPIKeySchema,
)
from control_plane.identity.service import api_keys

blueprint = Blueprint(
    "api-keys",
    __name__,
    url_prefix="/tenants/<uuid:tenant_id>/api-keys",
    description="What a tenant's programs identify themselves with at the gateway.",
)


@blueprint.route("")
class APIKeys(MethodView):
    """A tenant's API keys."""

    @blueprint.require(permissions.KEYS_READ)
    @blueprint.response(200, APIKeySchema(many=True))
    @blueprint.paged(PageQuerySchema)
    def get(self, tenant_id: uuid.UUID, **query: Any) -> Page[APIKey]:
        """List a tenant's API keys."""
        return api_keys.list_api_keys(session(), tenant_id, **query)

    @blueprint.require(permissions.KEYS_WRITE)
    @blueprint.arguments(APIKeyCreateSchema)
    @blueprint.response(201, NewAPIKeySchema)
    def post(self, values: dict[str, Any], tenant_id: uuid.UUID) -> NewAPIKey:
        """Make an API key; its text is shown only in this answer."""
        return api_keys.create_api_key(session(), tenant_id, **values)


@blueprint.route("/<uuid:key_id>")
class APIKeyById(MethodView):
    """One API key."""

    @blueprint.require(permissions.KEYS_WRITE)
    @blueprint.response(204)
    def delete(self, tenant_id: uuid.UUID, key_id: uuid.UUID) -> None:
        """Revoke an API key; the gateways refuse it from then on."""
        api_keys.revoke_api_key(session(), tenant_id, key_id)
