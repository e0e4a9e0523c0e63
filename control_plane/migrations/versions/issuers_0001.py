"""Create the issuers and their keys."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import row_security, types

revision = "issuers_0001"
down_revision = None
branch_labels = ("issuers",)
depends_on = ("tenants_0001", "core_0002")


def upgrade() -> None:
    op.create_table(
        "issuers",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("jwks_url", sa.String(1024)),
        sa.Column("audiences", types.Json, nullable=False),
        sa.Column("algorithms", types.Json, nullable=False),
        sa.Column("user_claim", sa.String(100), nullable=False),
        sa.Column("clock_leeway", sa.Integer(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
        sa.UniqueConstraint("tenant_id", "issuer"),
        sa.UniqueConstraint("tenant_id", "id"),
    )
    op.create_index("ix_issuers_tenant_id", "issuers", ["tenant_id"])
    op.create_table(
        "issuer_key_sets",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("issuer_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("keys", types.Json, nullable=False),
        sa.Column("fetched_at", types.UtcDateTime()),
        sa.Column("error", sa.Text()),
        sa.Column("due_at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "issuer_id"], ["issuers.tenant_id", "issuers.id"], ondelete="CASCADE"
        ),
        sa.UniqueConstraint("tenant_id", "issuer_id"),
    )
    op.create_index("ix_issuer_key_sets_tenant_id", "issuer_key_sets", ["tenant_id"])
    op.create_index("ix_issuer_key_sets_due_at", "issuer_key_sets", ["due_at"])
    row_security.protect("issuers")
    row_security.protect("issuer_key_sets")


def downgrade() -> None:
    op.drop_table("issuer_key_sets")
    op.drop_table("issuers")
