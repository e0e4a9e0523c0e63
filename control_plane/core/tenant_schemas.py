"""Puts the business rows of a tenant into a schema of its own, or back among everybody's.

On PostgreSQL a business table is partitioned by tenant. PostgreSQL itself sends each row where it
belongs, reads across all schemas, keeps uniques and references, and carries a changed definition
into every schema. What is left to do is to make, fill and drop partitions; functions of the
database (revision core_0005) do that with the rights of the owner.
"""

import contextlib
import uuid
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Mapped, Session, mapped_column

from control_plane.core.database import settings
from control_plane.core.errors import Conflict
from control_plane.core.ids import new_id
from control_plane.core.tenancy import TenantScoped

LOCK = 0x59754D656E
"""Number of PostgreSQL's advisory lock under which tables and schemas are changed."""


class BusinessTable(TenantScoped):
    """Base of mapped classes whose rows lie in their tenant's own schema, if it has one.

    Its migration makes the table with the primary key `(tenant_id, id)` and a reference to
    `tenants`, protects it, and then calls `divide`. Only business tables may refer to it.
    """

    tenant_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("tenants.id"), primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)


def divide(table: str) -> None:
    """Partition *table* by tenant, with the rows it has; for migrations.

    Before others or itself refer to it, and before it gets triggers. Nothing to do on SQLite.
    """
    if op.get_bind().dialect.name == "postgresql":
        op.execute(sa.select(sa.func.yumen_divide_table(table)))


def unite(table: str) -> None:
    """Undo `divide`; for the way back of migrations, when no tenant has a schema."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(sa.select(sa.func.yumen_unite_table(table)))


def enter(session: Session, tenant_id: uuid.UUID) -> int:
    """Give a tenant a schema, and move its business rows there; return how many there were.

    What is there already stays. The rows are compared after the move, and the tenant's row is held
    until the transaction ends.

    Raises:
        Conflict: there are as many schemas as `database.tenant_schemas` allows.
    """
    moved = session.scalar(sa.select(sa.func.yumen_enter_schema(tenant_id))) or 0
    limit = settings(session).database.tenant_schemas
    # Counted after the function has taken its lock: nobody else can make one until we are done.
    if (session.scalar(sa.text("SELECT count(*) FROM yumen_tenant_schemas")) or 0) > limit:
        raise Conflict(
            "no_schema_left", f"{limit} tenants have a schema, as many as may: use `row`."
        )
    return moved


def leave(session: Session, tenant_id: uuid.UUID) -> int:
    """Move a tenant's business rows back among everybody's; return how many there were.

    Its schema is emptied and renamed, for `drop_left`. The tenant's row is held until the
    transaction ends.
    """
    return session.scalar(sa.select(sa.func.yumen_leave_schema(tenant_id))) or 0


def drop_left(session: Session) -> None:
    """Drop the empty schemas that tenants have left; nothing to do on SQLite."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa.select(sa.func.yumen_drop_left_schemas()))


@contextlib.contextmanager
def none_moving(session: Session) -> Iterator[None]:
    """Let no tenant move while the block runs.

    For a transaction that sees one state of things for long: to it the rows of a tenant that moves
    are neither in the old place, where they are not looked for any more, nor in the new one yet.
    """
    engine = session.get_bind()
    if not isinstance(engine, Engine) or engine.dialect.name != "postgresql":
        yield
        return
    # Beside the session, whose first statement decides what it sees.
    with engine.connect() as guard:
        guard.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(LOCK)))
        yield


def behind(connection: Connection) -> dict[str, list[str]]:
    """Return the schemas of tenants that lack business tables, and which."""
    if connection.dialect.name != "postgresql":
        return {}
    if not connection.scalar(sa.text("SELECT to_regclass('yumen_tenant_schemas') IS NOT NULL")):
        return {}
    rows = connection.execute(
        sa.text("SELECT name, lacks FROM yumen_tenant_schemas WHERE lacks <> '{}' ORDER BY name")
    )
    return {name: list(lacks) for name, lacks in rows}


def catch_up(connection: Connection) -> None:
    """Make what the schemas of tenants lack."""
    if connection.dialect.name == "postgresql":
        connection.execute(
            sa.text(
                "SELECT yumen_enter_schema(tenant) FROM yumen_tenant_schemas WHERE lacks <> '{}'"
            )
        )
