"""AI models, and what tenants may call of them, in a manifest."""

import uuid
from collections.abc import Iterable

from marshmallow import fields
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.ai_models import service
from control_plane.ai_models.models import AIModel, TenantModelConfig
from control_plane.ai_models.schemas import ModelUpdateSchema, TenantModelUpdateSchema
from control_plane.core import outgoing
from control_plane.core.database import settings
from control_plane.core.manifest import Kind, Values


class TenantModelManifestSchema(TenantModelUpdateSchema):
    """A model that a tenant may call."""

    model = fields.UUID(required=True, attribute="model_id")


def _models(session: Session, _: uuid.UUID | None) -> Iterable[AIModel]:
    return session.scalars(select(AIModel).order_by(AIModel.id))


def _create_model(session: Session, _: uuid.UUID | None, values: Values) -> AIModel:
    outgoing.refuse_private("endpoint", values["endpoint"], settings(session))
    return service.create_model(session, values)


def _update_model(session: Session, model: AIModel, values: Values) -> AIModel:
    if model.endpoint != values["endpoint"]:
        outgoing.refuse_private("endpoint", values["endpoint"], settings(session))
    return service.update_model(session, model, values)


def _tenant_models(session: Session, tenant_id: uuid.UUID) -> Iterable[TenantModelConfig]:
    return session.scalars(service.tenant_models_of(tenant_id).order_by(TenantModelConfig.id))


def _create_tenant_model(
    session: Session, tenant_id: uuid.UUID, values: Values
) -> TenantModelConfig:
    return service.create_tenant_model(session, tenant_id, values)


MODELS = Kind(
    section="models",
    schema=ModelUpdateSchema,
    keys=("name",),
    rows=_models,
    create=_create_model,
    update=_update_model,
    delete=service.delete_model,
    secrets={"apiKey": AIModel.api_key},
)
TENANT_MODELS = Kind(
    section="models",
    schema=TenantModelManifestSchema,
    keys=("model",),
    rows=_tenant_models,
    create=_create_tenant_model,
    update=service.update_tenant_model,
    delete=service.delete_tenant_model,
    of_platform=False,
    of_tenant=True,
    references={"model": "models"},
)
