"""Give tenants versions, a time zone, a purge date, and their configuration a table of its own."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import row_security, types
from control_plane.core.ids import new_id

revision = "tenants_0002"
down_revision = "tenants_0001"
branch_labels = None
depends_on = "core_0002"

TENANTS = sa.table(
    "tenants",
    sa.column("id", sa.Uuid()),
    sa.column("feature_flags", types.Json),
    sa.column("ui_theme", types.Json),
)
CONFIGURATIONS = sa.table(
    "tenant_configurations",
    sa.column("id", sa.Uuid()),
    sa.column("tenant_id", sa.Uuid()),
    sa.column("ai_model_access", types.Json),
    sa.column("feature_flags", types.Json),
    sa.column("ui_theme", types.Json),
    sa.column("api_call_limits", types.Json),
)


def upgrade() -> None:
    op.add_column("tenants", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("tenants", sa.Column("purge_date", types.UtcDateTime()))
    op.create_index("ix_tenants_purge_date", "tenants", ["purge_date"])
    zone = sa.Column("time_zone", sa.String(64), nullable=False, server_default="Asia/Shanghai")
    op.add_column("tenants", zone)
    op.create_table(
        "tenant_configurations",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id"), nullable=False, unique=True),
        sa.Column("ai_model_access", types.Json, nullable=False),
        sa.Column("feature_flags", types.Json, nullable=False),
        sa.Column("ui_theme", types.Json, nullable=False),
        sa.Column("api_call_limits", types.Json, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
    )
    row_security.protect("tenant_configurations")
    rows = op.get_bind().execute(sa.select(TENANTS)).mappings().all()
    if rows:
        op.bulk_insert(
            CONFIGURATIONS,
            [
                {
                    "id": new_id(),
                    "tenant_id": row["id"],
                    "ai_model_access": ["*"],
                    "feature_flags": row["feature_flags"],
                    "ui_theme": row["ui_theme"],
                    "api_call_limits": {},
                }
                for row in rows
            ],
        )
    op.drop_column("tenants", "feature_flags")
    op.drop_column("tenants", "ui_theme")


def downgrade() -> None:
    for name in ("feature_flags", "ui_theme"):
        op.add_column("tenants", sa.Column(name, types.Json, nullable=False, server_default="{}"))
    connection = op.get_bind()
    for row in connection.execute(sa.select(CONFIGURATIONS)).mappings().all():
        values = {name: row[name] for name in ("feature_flags", "ui_theme")}
        connection.execute(
            sa.update(TENANTS).where(TENANTS.c.id == row["tenant_id"]).values(values)
        )
    op.drop_table("tenant_configurations")
    op.drop_column("tenants", "time_zone")
    op.drop_index("ix_tenants_purge_date", "tenants")
    op.drop_column("tenants", "purge_date")
    op.drop_column("tenants", "version")
