"""HTTP of the room ai_models."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.ai_models import permissions, service
from control_plane.ai_models.models import AIModel
from control_plane.ai_models.schemas import (
    ModelCreateSchema,
    ModelQuerySchema,
    ModelSchema,
    ModelUpdateSchema,
    TenantModelCreateSchema,
    TenantModelQuerySchema,
    TenantModelSchema,
    TenantModelUpdateSchema,
)
from control_plane.ai_models.service import TenantModel
from control_plane.core.api import Blueprint, refuse_private, session
from control_plane.core.auth import current_actor
from control_plane.core.conditions import matched
from control_plane.core.merge_patch import merged
from control_plane.core.pagination import Page

models = Blueprint("models", __name__, url_prefix="/models")
tenant_models = Blueprint("tenant_models", __name__, url_prefix="/tenants/<uuid:tenant_id>/models")
BLUEPRINTS = (models, tenant_models)


@models.route("")
class Models(MethodView):
    """The models that the platform offers."""

    @models.require(permissions.READ)
    @models.response(200, ModelSchema(many=True))
    @models.paged(ModelQuerySchema)
    def get(self, **query: Any) -> Page[AIModel]:
        """List AI models; a tenant's user sees those configured for the tenant."""
        return service.list_models(session(), tenant_id=current_actor().tenant_id, **query)

    @models.require(permissions.WRITE)
    @models.arguments(ModelCreateSchema)
    @models.response(201, ModelSchema)
    def post(self, values: dict[str, Any]) -> AIModel:
        """Add an AI model."""
        refuse_private("endpoint", values["endpoint"])
        return service.create_model(session(), values)


@models.route("/<uuid:model_id>")
class ModelById(MethodView):
    """One model."""

    @models.require(permissions.READ)
    @models.response(200, ModelSchema)
    def get(self, model_id: uuid.UUID) -> AIModel:
        """Show an AI model."""
        return service.get_model(session(), model_id, tenant_id=current_actor().tenant_id)

    @models.require(permissions.WRITE)
    @models.arguments(ModelUpdateSchema)
    @models.response(200, ModelSchema)
    def put(self, values: dict[str, Any], model_id: uuid.UUID) -> AIModel:
        """Change an AI model; without `apiKey` the stored key stays, for the same host only."""
        if "endpoint" in values:
            refuse_private("endpoint", values["endpoint"])
        model = matched(service.get_model(session(), model_id))
        return service.update_model(session(), model, values)

    @models.require(permissions.WRITE)
    @models.merge_patch(ModelUpdateSchema)
    @models.response(200, ModelSchema)
    def patch(self, patch: dict[str, Any], model_id: uuid.UUID) -> AIModel:
        """Change some fields of an AI model."""
        model = matched(service.get_model(session(), model_id))
        values = merged(ModelUpdateSchema, model, patch)
        if "endpoint" in patch:
            refuse_private("endpoint", values["endpoint"])
            # That ended the transaction: somebody may have changed the model since.
            model = matched(service.get_model(session(), model_id))
        return service.update_model(session(), model, values)

    @models.require(permissions.WRITE)
    @models.response(204)
    def delete(self, model_id: uuid.UUID) -> None:
        """Delete an AI model that no tenant is configured for."""
        service.delete_model(session(), matched(service.get_model(session(), model_id)))


@tenant_models.route("")
class TenantModels(MethodView):
    """The models that a tenant may call."""

    @tenant_models.require(permissions.READ)
    @tenant_models.response(200, TenantModelSchema(many=True))
    @tenant_models.paged(TenantModelQuerySchema)
    def get(self, tenant_id: uuid.UUID, **query: Any) -> Page[TenantModel]:
        """List the models configured for a tenant."""
        return service.list_tenant_models(session(), tenant_id, **query)

    @tenant_models.require(permissions.CONFIGURE)
    @tenant_models.arguments(TenantModelCreateSchema)
    @tenant_models.response(201, TenantModelSchema)
    def post(self, values: dict[str, Any], tenant_id: uuid.UUID) -> TenantModel:
        """Let a tenant call a model."""
        config = service.create_tenant_model(session(), tenant_id, values)
        return service.with_model(session(), config)


@tenant_models.route("/<uuid:config_id>")
class TenantModelById(MethodView):
    """One model of a tenant."""

    @tenant_models.require(permissions.READ)
    @tenant_models.response(200, TenantModelSchema)
    def get(self, tenant_id: uuid.UUID, config_id: uuid.UUID) -> TenantModel:
        """Show how a tenant calls a model."""
        config = service.get_tenant_model(session(), tenant_id, config_id)
        return service.with_model(session(), config)

    @tenant_models.require(permissions.CONFIGURE)
    @tenant_models.arguments(TenantModelUpdateSchema)
    @tenant_models.response(200, TenantModelSchema)
    def put(
        self, values: dict[str, Any], tenant_id: uuid.UUID, config_id: uuid.UUID
    ) -> TenantModel:
        """Change how a tenant calls a model."""
        config = matched(service.get_tenant_model(session(), tenant_id, config_id))
        service.update_tenant_model(session(), config, values)
        return service.with_model(session(), config)

    @tenant_models.require(permissions.CONFIGURE)
    @tenant_models.merge_patch(TenantModelUpdateSchema)
    @tenant_models.response(200, TenantModelSchema)
    def patch(
        self, patch: dict[str, Any], tenant_id: uuid.UUID, config_id: uuid.UUID
    ) -> TenantModel:
        """Change some of how a tenant calls a model."""
        config = matched(service.get_tenant_model(session(), tenant_id, config_id))
        values = merged(TenantModelUpdateSchema, config, patch)
        service.update_tenant_model(session(), config, values)
        return service.with_model(session(), config)

    @tenant_models.require(permissions.CONFIGURE)
    @tenant_models.response(204)
    def delete(self, tenant_id: uuid.UUID, config_id: uuid.UUID) -> None:
        """Take a model away from a tenant."""
        config = matched(service.get_tenant_model(session(), tenant_id, config_id))
        service.delete_tenant_model(session(), config)
