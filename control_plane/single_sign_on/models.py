"""Tables of the room single_sign_on; what hangs on a user goes with him and is seen with him."""

import datetime
import uuid

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import now
from control_plane.core.conditions import Versioned
from control_plane.core.ids import new_id
from control_plane.core.tables import Base
from control_plane.core.types import EncryptedText, Secret
from control_plane.identity import RoleHolder


class IdentityProvider(RoleHolder, Versioned, Base):
    """Where users of a tenant sign in, or those of the platform when it has no tenant.

    Its role is that of users whom a first sign-in creates; without one it creates none.
    """

    __tablename__ = "identity_providers"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "custom_role_id"], ["roles.tenant_id", "roles.id"]),
        UniqueConstraint("tenant_id", "name"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(100))
    issuer: Mapped[str] = mapped_column(String(1024))
    client_id: Mapped[str] = mapped_column(String(255))
    client_secret: Mapped[Secret | None] = mapped_column(EncryptedText)
    scopes: Mapped[list[str]]
    allowed_email_domains: Mapped[list[str]]
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)

    @property
    def default_role(self) -> str | None:
        """The name of the role of users whom a first sign-in creates."""
        return self.role if self.custom_role or self.built_in_role else None

    @property
    def has_client_secret(self) -> bool:
        """Whether a secret for the provider is stored."""
        return self.client_secret is not None

    def __repr__(self) -> str:
        return f"<IdentityProvider {self.id}>"


# SQL takes any two NULL for different, so the platform's own providers need an index of their own.
Index(
    "uq_identity_providers_platform_name",
    IdentityProvider.name,
    unique=True,
    sqlite_where=IdentityProvider.tenant_id.is_(None),
    postgresql_where=IdentityProvider.tenant_id.is_(None),
)


class ExternalIdentity(Base):
    """Who a user is at a provider; the first sign-in there makes it."""

    __tablename__ = "external_identities"

    provider_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("identity_providers.id", ondelete="CASCADE"), primary_key=True
    )
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)


class SignInCode(Base):
    """What a browser that came back from a provider gets its tokens for, once."""

    __tablename__ = "sign_in_codes"
    audited = False

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    expires_at: Mapped[datetime.datetime] = mapped_column(index=True)
