"""HTTP of API keys."""

import datetime
import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session
from control_plane.core.conditions import matched
from control_plane.core.merge_patch import merged
from control_plane.core.pagination import Page
from control_plane.core.rotation import NewSecret
from control_plane.identity import permissions
from control_plane.identity.models import APIKey
from control_plane.identity.schemas.api_keys import (
    APIKeyCreateSchema,
    APIKeyQuerySchema,
    APIKeyRotateSchema,
    APIKeySchema,
    APIKeyUpdateSchema,
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
    @blueprint.paged(APIKeyQuerySchema)
    def get(self, tenant_id: uuid.UUID, **query: Any) -> Page[APIKey]:
        """List a tenant's API keys."""
        return api_keys.list_api_keys(session(), tenant_id, **query)

    @blueprint.require(permissions.KEYS_WRITE, reveals=True)
    @blueprint.idempotent(secrets=("key",))
    @blueprint.arguments(APIKeyCreateSchema)
    @blueprint.response(201, NewAPIKeySchema)
    def post(self, values: dict[str, Any], tenant_id: uuid.UUID) -> NewSecret[APIKey]:
        """Make an API key; its text is shown only in this answer."""
        return api_keys.create_api_key(session(), tenant_id, **values)


@blueprint.route("/<uuid:key_id>")
class APIKeyById(MethodView):
    """One API key."""

    @blueprint.require(permissions.KEYS_READ)
    @blueprint.response(200, APIKeySchema)
    def get(self, tenant_id: uuid.UUID, key_id: uuid.UUID) -> APIKey:
        """Show an API key, without its text."""
        return api_keys.get_api_key(session(), tenant_id, key_id)

    @blueprint.require(permissions.KEYS_WRITE)
    @blueprint.arguments(APIKeyUpdateSchema)
    @blueprint.response(200, APIKeySchema)
    def put(self, values: dict[str, Any], tenant_id: uuid.UUID, key_id: uuid.UUID) -> APIKey:
        """Replace an API key's name and limits; its secrets stay."""
        key = matched(api_keys.get_api_key(session(), tenant_id, key_id))
        return api_keys.update_api_key(session(), key, values)

    @blueprint.require(permissions.KEYS_WRITE)
    @blueprint.merge_patch(APIKeyUpdateSchema)
    @blueprint.response(200, APIKeySchema)
    def patch(self, patch: dict[str, Any], tenant_id: uuid.UUID, key_id: uuid.UUID) -> APIKey:
        """Change an API key's name and limits."""
        key = matched(api_keys.get_api_key(session(), tenant_id, key_id))
        return api_keys.update_api_key(session(), key, merged(APIKeyUpdateSchema, key, patch))

    @blueprint.require(permissions.KEYS_WRITE)
    @blueprint.response(204)
    def delete(self, tenant_id: uuid.UUID, key_id: uuid.UUID) -> None:
        """Revoke an API key; the gateways refuse it from then on."""
        api_keys.revoke_api_key(
            session(), matched(api_keys.get_api_key(session(), tenant_id, key_id))
        )


@blueprint.route("/<uuid:key_id>/rotate")
class APIKeyRotation(MethodView):
    """The change of an API key's secret."""

    @blueprint.require(permissions.KEYS_WRITE, reveals=True)
    @blueprint.idempotent(secrets=("key",))
    @blueprint.arguments(APIKeyRotateSchema)
    @blueprint.response(200, NewAPIKeySchema)
    def post(
        self, values: dict[str, Any], tenant_id: uuid.UUID, key_id: uuid.UUID
    ) -> NewSecret[APIKey]:
        """Give an API key a second secret; the former one ends after the grace.

        The new text is shown only in this answer. Without a body the grace is a day.
        """
        key = api_keys.get_api_key(session(), tenant_id, key_id)
        grace = datetime.timedelta(seconds=values["grace_seconds"])
        return api_keys.rotate_api_key(session(), key, grace)
