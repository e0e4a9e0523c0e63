"""Create degradation rules."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import row_security, types

revision = "resilience_0002"
down_revision = "resilience_0001"
branch_labels = None
depends_on = None

TABLE = "degradation_rules"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id")),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("service", sa.String(48), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("condition", sa.String(500), nullable=False),
        sa.Column("clear_condition", sa.String(500)),
        sa.Column("for_seconds", sa.Integer(), nullable=False),
        sa.Column("clear_for_seconds", sa.Integer(), nullable=False),
        sa.Column("ttl_seconds", sa.Integer(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("parameters", types.Json, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
        sa.UniqueConstraint("tenant_id", "name"),
    )
    op.create_index(f"ix_{TABLE}_tenant_id", TABLE, ["tenant_id"])
    op.create_index(f"ix_{TABLE}_service", TABLE, ["service"])
    without_tenant = sa.column("tenant_id").is_(None)
    op.create_index(
        f"uq_{TABLE}_platform_name",
        TABLE,
        ["name"],
        unique=True,
        sqlite_where=without_tenant,
        postgresql_where=without_tenant,
    )
    row_security.protect(TABLE)


def downgrade() -> None:
    op.drop_table(TABLE)
