"""What can be done with AI models and with a tenant's use of them."""

import contextlib
import dataclasses
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.ai_models.events import (
    ModelDeleted,
    ModelRenamed,
    ModelSaved,
    TenantModelChanged,
)
from control_plane.ai_models.models import AIModel, TenantModelConfig
from control_plane.core import base_urls, pagination
from control_plane.core.errors import Conflict, Invalid, NotFound
from control_plane.core.events import emit
from control_plane.core.pagination import Page
from control_plane.core.schemas import Order
from control_plane.core.types import Secret


@dataclasses.dataclass(frozen=True)
class TenantModel:
    """A tenant's use of a model, with the model."""

    config: TenantModelConfig
    model: AIModel
    is_callable: bool
    """Whether the model is active, and not kept from the tenant by its `ai_model_access`."""

    @property
    def id(self) -> uuid.UUID:
        """The id of the configuration."""
        return self.config.id

    @property
    def version(self) -> int:
        """The version of the configuration."""
        return self.config.version


def list_models(
    session: Session,
    *,
    page: int,
    page_size: int,
    sort: Order = (),
    is_active: bool | None = None,
    tenant_id: uuid.UUID | None = None,
) -> Page[AIModel]:
    """Return all models or, with a tenant, those that it may call, by name or by *sort*."""
    query = models_of(session, tenant_id)
    if is_active is not None:
        query = query.where(AIModel.is_active.is_(is_active))
    order = pagination.ordering(AIModel, sort or [("name", False)])
    return pagination.page(session, query.order_by(*order), page, page_size)


def get_model(
    session: Session, model_id: uuid.UUID, *, tenant_id: uuid.UUID | None = None
) -> AIModel:
    """Return a model; with a tenant, only one that it may call.

    Raises:
        NotFound: there is no such model, or none for this tenant.
    """
    model = session.scalar(models_of(session, tenant_id).where(AIModel.id == model_id))
    if model is None:
        raise NotFound("model")
    return model


def models_of(session: Session, tenant_id: uuid.UUID | None) -> Select[AIModel]:
    """Return the query for the models that a tenant may call, for all without one."""
    query = select(AIModel)
    if tenant_id is None:
        return query
    configured = select(TenantModelConfig.model_id).where(TenantModelConfig.tenant_id == tenant_id)
    usable = tenants.restricted_models(session, [tenant_id]).get(tenant_id)
    if usable is not None:
        query = query.where(AIModel.id.in_(usable))
    return query.where(AIModel.id.in_(configured))


def create_model(session: Session, values: Mapping[str, Any]) -> AIModel:
    """Add a model with the fields of `AIModel`; `api_key` is given in clear."""
    model = AIModel()
    _assign(model, _with_secret(values))
    session.add(model)
    _flush(session, _name_taken(model.name))
    emit(session, ModelSaved(model_id=model.id))
    return model


def update_model(session: Session, model: AIModel, values: Mapping[str, Any]) -> AIModel:
    """Change a model; without `api_key` in *values* the stored key stays.

    Raises:
        Invalid: the stored key would be sent to another host than it was given for.
    """
    if "api_key" not in values and model.has_api_key:
        _refuse_other_origin(model.endpoint, values.get("endpoint", model.endpoint))
    renamed = values.get("name", model.name) != model.name
    _assign(model, _with_secret(values))
    # Renaming locks the row's unique name against new foreign keys to it, so the tenants listed
    # below are all that know the old name.
    _flush(session, _name_taken(model.name))
    emit(session, ModelSaved(model_id=model.id))
    if renamed:
        users = select(TenantModelConfig.tenant_id).where(TenantModelConfig.model_id == model.id)
        tenant_ids = list(session.scalars(users))
        emit(session, ModelRenamed(model_id=model.id, tenant_ids=tenant_ids))
    return model


def _refuse_other_origin(stored: str, wanted: str) -> None:
    # Whoever may change a model could otherwise have its key sent to a host of their own.
    if base_urls.parse(stored).origin != base_urls.parse(wanted).origin:
        raise Invalid.field(
            "apiKey",
            "Must be given again, because the endpoint changes: a stored key is never sent to "
            "another scheme, host or port.",
        )


def delete_model(session: Session, model: AIModel) -> None:
    """Delete a model that no tenant is configured for.

    Raises:
        Conflict: a tenant may still call it.
    """
    in_use = Conflict("model_in_use", "Tenants are configured for this model; deactivate it.")
    emit(session, ModelDeleted(model_id=model.id))
    session.delete(model)
    _flush(session, in_use)


def _with_secret(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return *values* with the `api_key` that is given in clear, if one is, as a secret."""
    clear = values.get("api_key")
    return {**values, "api_key": Secret(clear)} if clear is not None else dict(values)


def list_tenant_models(
    session: Session, tenant_id: uuid.UUID, *, page: int, page_size: int, sort: Order = ()
) -> Page[TenantModel]:
    """Return a tenant's models in the order in which they were configured, or by *sort*."""
    tenants.get_tenant(session, tenant_id)
    query = (
        select(TenantModelConfig)
        .where(TenantModelConfig.tenant_id == tenant_id)
        .order_by(*pagination.ordering(TenantModelConfig, sort))
    )
    found = pagination.page(session, query, page, page_size)
    return Page(items=with_models(session, found.items), total=found.total)


def get_tenant_model(
    session: Session, tenant_id: uuid.UUID, config_id: uuid.UUID
) -> TenantModelConfig:
    """Return one configuration of a tenant.

    Raises:
        NotFound: the tenant has no such configuration.
    """
    config = session.get(TenantModelConfig, (tenant_id, config_id))
    if config is None:
        raise NotFound("tenant_model")
    return config


def create_tenant_model(
    session: Session, tenant_id: uuid.UUID, values: Mapping[str, Any]
) -> TenantModelConfig:
    """Let a tenant call a model."""
    tenants.get_tenant(session, tenant_id)
    if session.get(AIModel, values["model_id"]) is None:
        raise Invalid.field("modelId", "There is no such model.")
    config = TenantModelConfig(tenant_id=tenant_id)
    _assign(config, values)
    session.add(config)
    _flush(
        session,
        Conflict("tenant_model_exists", "This tenant is configured for this model already."),
    )
    emit(session, TenantModelChanged(tenant_id=tenant_id, model_id=config.model_id))
    return config


def update_tenant_model(
    session: Session, config: TenantModelConfig, values: Mapping[str, Any]
) -> TenantModelConfig:
    """Change how a tenant calls a model."""
    _assign(config, values)
    session.flush()
    emit(session, TenantModelChanged(tenant_id=config.tenant_id, model_id=config.model_id))
    return config


def delete_tenant_model(session: Session, config: TenantModelConfig) -> None:
    """Take a model away from a tenant."""
    emit(session, TenantModelChanged(tenant_id=config.tenant_id, model_id=config.model_id))
    session.delete(config)
    session.flush()


def delete_tenant_models(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Take up to *limit* models away from a tenant; return how many."""
    configs = session.scalars(tenant_models_of(tenant_id).limit(limit)).all()
    for config in configs:
        delete_tenant_model(session, config)
    return len(configs)


def tenant_models_of(tenant_id: uuid.UUID) -> Select[TenantModelConfig]:
    """Return the query for how a tenant calls models."""
    return select(TenantModelConfig).where(TenantModelConfig.tenant_id == tenant_id)


def with_model(session: Session, config: TenantModelConfig) -> TenantModel:
    """Return a configuration together with its model."""
    return with_models(session, [config])[0]


def with_models(session: Session, configs: Sequence[TenantModelConfig]) -> Sequence[TenantModel]:
    """Return configurations together with their models."""
    wanted = select(AIModel).where(AIModel.id.in_([config.model_id for config in configs]))
    models = {model.id: model for model in session.scalars(wanted)}
    restricted = tenants.restricted_models(session, {config.tenant_id for config in configs})

    def is_callable(config: TenantModelConfig) -> bool:
        usable = restricted.get(config.tenant_id, {config.model_id})
        return models[config.model_id].is_active and config.model_id in usable

    return [TenantModel(config, models[config.model_id], is_callable(config)) for config in configs]


def _assign(row: AIModel | TenantModelConfig, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def _name_taken(name: str) -> Conflict:
    return Conflict("model_name_taken", f"There is a model named {name} already.")


def _flush(session: Session, conflict: Conflict) -> None:
    """Write to the database, whose constraints decide what two requests at once may do."""
    try:
        session.flush()
    except IntegrityError as error:
        raise conflict from error


def model_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of those of *ids* that are models; a deleted one has none."""
    rows = session.execute(select(AIModel.id, AIModel.name).where(AIModel.id.in_(ids)))
    return {model_id: name for model_id, name in rows}  # noqa: C416 - a Row is no pair


def daily_limits(
    session: Session, tenant_ids: Collection[uuid.UUID] | None
) -> Sequence[tuple[uuid.UUID, uuid.UUID, int]]:
    """Return tenant, model and how many calls a day the tenant may make of it, where limited.

    Of the tenants *tenant_ids*, of all when it is None.
    """
    config = TenantModelConfig
    query = select(config.tenant_id, config.model_id, config.max_calls_per_day).where(
        config.max_calls_per_day.is_not(None)
    )
    if tenant_ids is not None:
        query = query.where(config.tenant_id.in_(tenant_ids))
    rows = session.execute(query.order_by(config.tenant_id, config.model_id))
    return [(tenant, model, int(limit)) for tenant, model, limit in rows if limit is not None]


def service_keys(session: Session, tenant_id: uuid.UUID | None, name: str) -> list[str]:
    """Return `model:<id>` of the model that has this name, or this key; a tenant must have it."""
    named = AIModel.name == name
    if name.startswith("model:"):
        with contextlib.suppress(ValueError):
            named |= AIModel.id == uuid.UUID(name.removeprefix("model:"))
    query = models_of(session, tenant_id).where(named)
    return [f"model:{model.id}" for model in session.scalars(query)]
