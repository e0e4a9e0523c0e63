"""Tables of the room domains."""

import datetime
import enum
import uuid

from sqlalchemy import ForeignKeyConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core import clock
from control_plane.core.audit_entries import UNAUDITED
from control_plane.core.conditions import Versioned
from control_plane.core.ids import new_id
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantScoped
from control_plane.domains import names

RECORD_PREFIX = "_yumen."
VALUE_PREFIX = "yumen-verification="

CLAIM = datetime.timedelta(days=7)
"""How long a claim waits for its proof."""


class Method(enum.StrEnum):
    """How a name was verified."""

    DNS = "dns"
    MANUAL = "manual"


def _claim_end() -> datetime.datetime:
    return clock.now() + CLAIM


class Domain(TenantScoped, Versioned, Base):
    """A tenant's claim to a domain name; it routes once it is verified."""

    __tablename__ = "domains"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        UniqueConstraint("tenant_id", "domain_name"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    domain_name: Mapped[str] = mapped_column(String(253))
    is_verified: Mapped[bool] = mapped_column(default=False)
    is_primary: Mapped[bool] = mapped_column(default=False)
    ssl_enabled: Mapped[bool] = mapped_column(default=False)
    verification_token: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime.datetime] = mapped_column(default=clock.now)
    verified_at: Mapped[datetime.datetime | None]
    verification_method: Mapped[str | None] = mapped_column(String(16))
    expires_at: Mapped[datetime.datetime | None] = mapped_column(default=_claim_end)
    """When a claim lapses; None once it is verified."""
    check_at: Mapped[datetime.datetime | None] = mapped_column(index=True, info=UNAUDITED)
    """When the DNS is asked again; None where a person vouches for the name."""
    missing_since: Mapped[datetime.datetime | None]

    @property
    def verification_record(self) -> dict[str, str]:
        """The DNS record that proves the domain."""
        name = RECORD_PREFIX + names.base(self.domain_name)
        return {"type": "TXT", "name": name, "value": VALUE_PREFIX + self.verification_token}


# Many tenants may claim a name, one can prove it; a tenant has one primary domain at most.
Index(
    "uq_domains_verified_name",
    Domain.domain_name,
    unique=True,
    sqlite_where=Domain.is_verified.is_(True),
    postgresql_where=Domain.is_verified.is_(True),
)
Index(
    "uq_domains_primary",
    Domain.tenant_id,
    unique=True,
    sqlite_where=Domain.is_primary.is_(True),
    postgresql_where=Domain.is_primary.is_(True),
)
