"""What AI models add to the configuration: section `models`, and `models` of each tenant."""

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.ai_models import parameters
from control_plane.ai_models.events import (
    ModelDeleted,
    ModelRenamed,
    ModelSaved,
    TenantModelChanged,
)
from control_plane.ai_models.models import AIModel, TenantModelConfig
from control_plane.contract.documents import ModelDocument
from control_plane.core import base_urls
from control_plane.core.database import keyring
from control_plane.core.decimals import decimal_text
from control_plane.core.encryption import reveal
from control_plane.core.pagination import keys_after
from control_plane.core.plugins import Section, SectionPart


def compile_models(
    session: Session, ids: Collection[str] | None
) -> dict[str, dict[str, Any] | None]:
    """Return the documents of the models *ids*, None for one that is gone."""
    query = select(AIModel)
    if ids is not None:
        query = query.where(AIModel.id.in_([uuid.UUID(each) for each in ids]))
    documents: dict[str, dict[str, Any] | None] = dict.fromkeys(ids or ())
    documents |= {str(model.id): _document(session, model) for model in session.scalars(query)}
    return documents


def _document(session: Session, model: AIModel) -> dict[str, Any]:
    endpoint = base_urls.parse(model.endpoint)
    return {
        "name": model.name,
        "provider": model.provider,
        "isActive": model.is_active,
        "costPerCall": decimal_text(model.cost_per_call),
        "endpoint": {
            "scheme": endpoint.scheme,
            "host": endpoint.host,
            "port": endpoint.port,
            "path": endpoint.path,
        },
        "apiKey": _sealed_key(session, model),
        "parameters": parameters.raw(model.parameters),
        "enforcedParameters": model.enforced_parameters,
    }


def _sealed_key(session: Session, model: AIModel) -> str | None:
    """Return the upstream's key as only a gateway can read it, bound to this document."""
    api_key = reveal(model, AIModel.api_key)
    return None if api_key is None else keyring(session).seal(api_key, f"models/{model.id}")


def compile_tenant_models(
    session: Session, ids: Collection[str] | None
) -> dict[str, dict[str, Any]]:
    """Return tenant id to the field `models` of its document: what the tenant may call."""
    query = select(TenantModelConfig, AIModel.name).join(
        AIModel, AIModel.id == TenantModelConfig.model_id
    )
    tenant_ids = None if ids is None else [uuid.UUID(each) for each in ids]
    if tenant_ids is not None:
        query = query.where(TenantModelConfig.tenant_id.in_(tenant_ids))
    restricted = tenants.restricted_models(session, tenant_ids)
    found: dict[str, dict[str, Any]] = {}
    for config, name in session.execute(query):
        if config.model_id not in restricted.get(config.tenant_id, {config.model_id}):
            continue
        models = found.setdefault(str(config.tenant_id), {"models": {}})["models"]
        models[name] = {
            "model": str(config.model_id),
            "parameters": parameters.raw(config.custom_parameters),
            "costMultiplier": decimal_text(config.cost_multiplier),
            "maxCallsPerDay": config.max_calls_per_day,
        }
    return found


def _model(payload: dict[str, Any]) -> Collection[str]:
    return [payload["model_id"]]


SECTION = Section(
    name="models",
    schema=ModelDocument,
    compile=compile_models,
    ids=lambda session, after, limit: keys_after(session, AIModel.id, after, limit),
    dirty={ModelSaved.name: _model, ModelDeleted.name: _model},
)

TENANTS_PART = SectionPart(
    section="tenants",
    compile=compile_tenant_models,
    dirty={
        TenantModelChanged.name: lambda payload: [payload["tenant_id"]],
        ModelRenamed.name: lambda payload: payload["tenant_ids"],
    },
)
