"""Create the data keys."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import row_security, types

revision = "core_0006"
down_revision = "core_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "data_keys",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid()),
        sa.Column("master_id", sa.String(16), nullable=False),
        sa.Column("wrapped", sa.String(160), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("retired_at", types.UtcDateTime()),
    )
    op.create_index("ix_data_keys_tenant_id", "data_keys", ["tenant_id"])
    op.create_index("ix_data_keys_master_id", "data_keys", ["master_id"])
    row_security.protect("data_keys")


def downgrade() -> None:
    op.drop_table("data_keys")
