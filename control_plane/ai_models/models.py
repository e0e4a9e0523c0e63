"""Tables of the room ai_models."""

import datetime
import uuid
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.audit_entries import UNAUDITED
from control_plane.core.clock import now
from control_plane.core.conditions import Versioned
from control_plane.core.ids import new_id
from control_plane.core.tables import Base
from control_plane.core.tenant_schemas import BusinessTable
from control_plane.core.types import EncryptedText, Secret


class AIModel(Versioned, Base):
    """A model that the platform offers: where it is served and what a call costs."""

    __tablename__ = "ai_models"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    provider: Mapped[str] = mapped_column(String(32))
    endpoint: Mapped[str] = mapped_column(String(1024))
    api_key: Mapped[Secret | None] = mapped_column(EncryptedText)
    parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    enforced_parameters: Mapped[list[str]] = mapped_column(default=list)
    cost_per_call: Mapped[Decimal]
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime.datetime] = mapped_column(default=now, onupdate=now, info=UNAUDITED)

    @property
    def has_api_key(self) -> bool:
        """Whether a key for the upstream is stored."""
        return self.api_key is not None


class TenantModelConfig(BusinessTable, Versioned, Base):
    """That a tenant may call a model, and on which terms."""

    __tablename__ = "tenant_model_configs"
    __table_args__ = (UniqueConstraint("tenant_id", "model_id"),)

    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("ai_models.id"), index=True)
    max_calls_per_day: Mapped[int | None] = mapped_column(BigInteger)
    custom_parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    cost_multiplier: Mapped[Decimal]
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime.datetime] = mapped_column(default=now, onupdate=now, info=UNAUDITED)
