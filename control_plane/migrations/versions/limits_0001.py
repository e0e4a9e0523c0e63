"""Create the limits."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import row_security, types

revision = "limits_0001"
down_revision = None
branch_labels = ("limits",)
depends_on = ("tenants_0001", "core_0002")


def upgrade() -> None:
    op.create_table(
        "limits",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id")),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("scope", types.Json, nullable=False),
        sa.Column("match", types.Json, nullable=False),
        sa.Column("meter", sa.String(16), nullable=False),
        sa.Column("limit", sa.BigInteger(), nullable=False),
        sa.Column("window", sa.String(16)),
        sa.Column("burst", sa.BigInteger()),
        sa.Column("on_outage", sa.String(16), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
        sa.UniqueConstraint("tenant_id", "name"),
    )
    without_tenant = sa.column("tenant_id").is_(None)
    op.create_index(
        "uq_limits_platform_name",
        "limits",
        ["name"],
        unique=True,
        sqlite_where=without_tenant,
        postgresql_where=without_tenant,
    )
    row_security.protect("limits")


def downgrade() -> None:
    op.drop_table("limits")
