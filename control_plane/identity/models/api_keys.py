"""The table of API keys."""

import dataclasses
import datetime
import uuid

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import now
from control_plane.core.database import Base
from control_plane.core.ids import new_id
from control_plane.core.tenancy import TenantScoped

KEY_PREFIX = "ym_live_"


class APIKey(TenantScoped, Base):
    """What a tenant's programs identify themselves with at the gateway; only a digest is kept."""

    __tablename__ = "api_keys"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    public_id: Mapped[str] = mapped_column(String(12), unique=True)
    digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime.datetime | None]
    revoked_at: Mapped[datetime.datetime | None]

    @property
    def prefix(self) -> str:
        """How the key's text begins; it can be shown."""
        return KEY_PREFIX + self.public_id


@dataclasses.dataclass(frozen=True)
class NewAPIKey:
    """A key that was just made, with its text, which is known only now."""

    row: APIKey
    text: str = dataclasses.field(repr=False)
