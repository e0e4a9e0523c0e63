"""The table of roles that were made, beside the built-in ones, and who has a role."""

import datetime
import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, declared_attr, mapped_column, relationship

from control_plane.core.auth import Access, Permission, Role
from control_plane.core.clock import now
from control_plane.core.conditions import Versioned
from control_plane.core.ids import new_id
from control_plane.core.known_fields import masked_contacts
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantFiltered
from control_plane.core.types import text_enum
from control_plane.identity import permissions


class CustomRole(TenantFiltered, Versioned, Base):
    """A named set of permissions of a tenant, or of the platform when it has no tenant."""

    __tablename__ = "roles"
    # The second one is for the foreign key of users, which names the tenant too.
    __table_args__ = (UniqueConstraint("tenant_id", "name"), UniqueConstraint("tenant_id", "id"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(50))
    description: Mapped[str | None] = mapped_column(String(500))
    permissions: Mapped[list[str]]
    field_permissions: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    creation_date: Mapped[datetime.datetime] = mapped_column(default=now)

    @property
    def gives(self) -> list[Permission]:
        """The permissions that users of this role have."""
        return permissions.of_names(self.permissions, self.tenant_id)

    @property
    def fields(self) -> Mapping[str, Access]:
        """What its users get less of than its permissions say."""
        return {name: Access(access) for name, access in self.field_permissions.items()}

    def __repr__(self) -> str:
        return f"<CustomRole {self.id}>"


# SQL takes any two NULL for different, so the platform's own roles need an index of their own.
Index(
    "uq_roles_platform_name",
    CustomRole.name,
    unique=True,
    sqlite_where=CustomRole.tenant_id.is_(None),
    postgresql_where=CustomRole.tenant_id.is_(None),
)


class RoleHolder(TenantFiltered):
    """Base of mapped classes that have a role of their tenant, or of the platform without one.

    It is a built-in role or a custom one. The table needs the foreign key `(tenant_id,
    custom_role_id)` to `(roles.tenant_id, roles.id)` beside the columns that stand here.
    """

    built_in_role: Mapped[Role | None] = mapped_column("role", text_enum(Role))
    custom_role_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("roles.id"), index=True)

    @declared_attr
    @classmethod
    def custom_role(cls) -> Mapped[CustomRole | None]:
        """The custom role."""
        return relationship(CustomRole, lazy="joined", foreign_keys=[cls.custom_role_id])

    @property
    def role(self) -> str:
        """The name of the role."""
        return self.custom_role.name if self.custom_role else str(self.built_in_role)

    @property
    def permissions(self) -> list[Permission]:
        """What the role gives."""
        if self.custom_role is not None:
            return self.custom_role.gives
        if self.built_in_role is None:
            return []
        return permissions.of_role(self.built_in_role, self.tenant_id)

    @property
    def fields(self) -> Mapping[str, Access]:
        """What the role keeps of single fields; viewers see contact data masked."""
        if self.custom_role is not None:
            return self.custom_role.fields
        return masked_contacts() if self.built_in_role is Role.VIEWER else {}
