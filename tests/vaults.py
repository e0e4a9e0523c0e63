"""Tables with secrets, of tenants and of the platform, as rooms would declare them.

They have a metadata of their own, so that no other test meets them.
"""

import datetime
import uuid

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from control_plane.core import row_security
from control_plane.core.clock import now
from control_plane.core.conditions import Versioned
from control_plane.core.database import Database
from control_plane.core.ids import new_id
from control_plane.core.tenancy import TenantScoped
from control_plane.core.types import EncryptedText, Secret, UtcDateTime
from tests.servers import APPLICATION


class Tables(DeclarativeBase):
    """Base of the test's own tables."""

    audited = False


class Row(Versioned):
    """What each of them has."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    secret: Mapped[Secret] = mapped_column(EncryptedText)
    other: Mapped[Secret | None] = mapped_column(EncryptedText)
    name: Mapped[str] = mapped_column(default="")
    updated_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now, onupdate=now)


class Vault(Row, TenantScoped, Tables):
    """A tenant's."""

    __tablename__ = "vaults"


class Safe(Row, TenantScoped, Tables):
    """Another one of a tenant's, with the primary key of a business table."""

    __tablename__ = "safes"

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)


class Chest(Row, Tables):
    """The platform's."""

    __tablename__ = "chests"


TABLES = Tables.metadata.sorted_tables


def create(database: Database) -> None:
    """Make the tables as a migration does."""
    with database.owner_transaction() as connection:
        Tables.metadata.create_all(connection)
        if not database.is_sqlite:
            with Operations.context(MigrationContext.configure(connection)):
                for table in ("vaults", "safes"):
                    row_security.protect(table)
            row_security.grant(connection, APPLICATION)
