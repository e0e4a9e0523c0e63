"""Create the AI models and what each tenant may call."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import types

revision = "ai_models_0001"
down_revision = None
branch_labels = ("ai_models",)
depends_on = "tenants_0001"


def upgrade() -> None:
    op.create_table(
        "ai_models",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("name", sa.String(128), nullable=False, unique=True),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("endpoint", sa.String(1024), nullable=False),
        sa.Column("api_key", types.EncryptedText()),
        sa.Column("parameters", types.Json, nullable=False),
        sa.Column("enforced_parameters", types.Json, nullable=False),
        sa.Column("cost_per_call", types.Decimal12(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
    )
    op.create_table(
        "tenant_model_configs",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("model_id", sa.Uuid(), sa.ForeignKey("ai_models.id"), nullable=False),
        sa.Column("max_calls_per_day", sa.BigInteger()),
        sa.Column("custom_parameters", types.Json, nullable=False),
        sa.Column("cost_multiplier", types.Decimal12(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.UniqueConstraint("tenant_id", "model_id"),
    )
    op.create_index("ix_tenant_model_configs_tenant_id", "tenant_model_configs", ["tenant_id"])
    op.create_index("ix_tenant_model_configs_model_id", "tenant_model_configs", ["model_id"])


def downgrade() -> None:
    op.drop_table("tenant_model_configs")
    op.drop_table("ai_models")
