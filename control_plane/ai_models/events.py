"""What happens to AI models."""

import uuid
from dataclasses import dataclass
from typing import ClassVar

from control_plane.core.events import Event


@dataclass(frozen=True, kw_only=True)
class ModelSaved(Event):
    """A model was added or changed."""

    name: ClassVar[str] = "ai_models.saved"
    model_id: uuid.UUID


@dataclass(frozen=True, kw_only=True)
class ModelRenamed(Event):
    """Clients of these tenants call a model by another name from now on."""

    name: ClassVar[str] = "ai_models.renamed"
    model_id: uuid.UUID
    tenant_ids: list[uuid.UUID]


@dataclass(frozen=True, kw_only=True)
class ModelDeleted(Event):
    """A model is gone."""

    name: ClassVar[str] = "ai_models.deleted"
    model_id: uuid.UUID


@dataclass(frozen=True, kw_only=True)
class TenantModelChanged(Event):
    """A model was added to a tenant, changed for it or taken away."""

    name: ClassVar[str] = "ai_models.tenant_model_changed"
    tenant_id: uuid.UUID
    model_id: uuid.UUID
