"""HTTP of identity providers."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, refuse_private, session
from control_plane.core.conditions import matched
from control_plane.core.merge_patch import merged
from control_plane.core.pagination import Page
from control_plane.single_sign_on import permissions
from control_plane.single_sign_on.models import IdentityProvider
from control_plane.single_sign_on.schemas import (
    IdentityProviderCreateSchema,
    IdentityProviderQuerySchema,
    IdentityProviderSchema,
    IdentityProviderUpdateSchema,
)
from control_plane.single_sign_on.service import providers

blueprint = Blueprint(
    "identity-providers",
    __name__,
    url_prefix="/identity-providers",
    description="Where people sign in with an account that they have elsewhere.",
)


@blueprint.route("")
class IdentityProviders(MethodView):
    """All identity providers."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, IdentityProviderSchema(many=True))
    @blueprint.paged(IdentityProviderQuerySchema)
    def get(self, **query: Any) -> Page[IdentityProvider]:
        """List identity providers."""
        return providers.list_providers(session(), **query)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(IdentityProviderCreateSchema)
    @blueprint.response(201, IdentityProviderSchema)
    def post(self, values: dict[str, Any]) -> IdentityProvider:
        """Add an identity provider; `redirectUri` is to be registered there."""
        refuse_private("issuer", values["issuer"])
        return providers.create_provider(session(), **values)


@blueprint.route("/<uuid:provider_id>")
class IdentityProviderById(MethodView):
    """One identity provider."""

    @blueprint.require(permissions.READ)
    @blueprint.response(200, IdentityProviderSchema)
    def get(self, provider_id: uuid.UUID) -> IdentityProvider:
        """Show an identity provider."""
        return providers.get_provider(session(), provider_id)

    @blueprint.require(permissions.WRITE)
    @blueprint.arguments(IdentityProviderUpdateSchema)
    @blueprint.response(200, IdentityProviderSchema)
    def put(self, values: dict[str, Any], provider_id: uuid.UUID) -> IdentityProvider:
        """Replace an identity provider; without `clientSecret` the stored one stays."""
        matched(providers.get_provider(session(), provider_id))
        if "issuer" in values:
            refuse_private("issuer", values["issuer"])
        return _update(provider_id, values)

    @blueprint.require(permissions.WRITE)
    @blueprint.merge_patch(IdentityProviderUpdateSchema)
    @blueprint.response(200, IdentityProviderSchema)
    def patch(self, patch: dict[str, Any], provider_id: uuid.UUID) -> IdentityProvider:
        """Change some of an identity provider."""
        provider = matched(providers.get_provider(session(), provider_id))
        values = merged(IdentityProviderUpdateSchema, provider, patch)
        if "issuer" in patch:
            refuse_private("issuer", values["issuer"])
        return _update(provider_id, values)

    @blueprint.require(permissions.WRITE)
    @blueprint.response(204)
    def delete(self, provider_id: uuid.UUID) -> None:
        """Delete an identity provider; its users stay."""
        providers.delete_provider(
            session(), matched(providers.get_provider(session(), provider_id))
        )


def _update(provider_id: uuid.UUID, values: dict[str, Any]) -> IdentityProvider:
    """Change the provider, which another request may have changed while the DNS was asked."""
    provider = matched(providers.get_provider(session(), provider_id))
    return providers.update_provider(session(), provider, **values)
