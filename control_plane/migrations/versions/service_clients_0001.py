"""Create service clients and their secrets."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import row_security, types

revision = "service_clients_0001"
down_revision = None
branch_labels = ("service_clients",)
depends_on = "identity_0003"


def upgrade() -> None:
    op.create_table(
        "service_clients",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id")),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("role", sa.String(16)),
        sa.Column("custom_role_id", sa.Uuid(), sa.ForeignKey("roles.id")),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("expires_at", types.UtcDateTime()),
        sa.Column("rotated_at", types.UtcDateTime()),
        sa.Column("last_used_at", types.UtcDateTime()),
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
        sa.ForeignKeyConstraint(["tenant_id", "custom_role_id"], ["roles.tenant_id", "roles.id"]),
    )
    op.create_index("ix_service_clients_tenant_id", "service_clients", ["tenant_id"])
    op.create_index("ix_service_clients_custom_role_id", "service_clients", ["custom_role_id"])
    row_security.protect("service_clients")
    op.create_table(
        "service_client_secrets",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column(
            "client_id",
            sa.Uuid(),
            sa.ForeignKey("service_clients.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("expires_at", types.UtcDateTime()),
    )
    op.create_index("ix_service_client_secrets_client_id", "service_client_secrets", ["client_id"])
    row_security.protect_through("service_client_secrets", "client_id", "service_clients")


def downgrade() -> None:
    op.drop_table("service_client_secrets")
    op.drop_table("service_clients")
