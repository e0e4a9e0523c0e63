"""Give models, and what tenants may call, versions."""

import sqlalchemy as sa
from alembic import op

revision = "ai_models_0002"
down_revision = "ai_models_0001"
branch_labels = None
depends_on = None

TABLES = (
    "ai_models",
    "tenant_model_configs",
)


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("version", sa.Integer(), nullable=False, server_default="1"))


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "version")
