"""Create circuit breakers."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import row_security, types

revision = "resilience_0001"
down_revision = None
branch_labels = ("resilience",)
depends_on = ("tenants_0001", "core_0002")

TABLE = "circuit_breakers"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id")),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("service", sa.String(48), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("endpoint", sa.String(255)),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("failure_threshold", sa.Integer(), nullable=False),
        sa.Column("minimum_calls", sa.Integer(), nullable=False),
        sa.Column("window_seconds", sa.Integer(), nullable=False),
        sa.Column("slow_call_milliseconds", sa.Integer()),
        sa.Column("slow_call_threshold", sa.Integer(), nullable=False),
        sa.Column("consecutive_failures", sa.Integer()),
        sa.Column("reset_timeout", sa.Integer(), nullable=False),
        sa.Column("max_reset_timeout", sa.Integer(), nullable=False),
        sa.Column("half_open_permits", sa.Integer(), nullable=False),
        sa.Column("counted_statuses", types.Json, nullable=False),
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
