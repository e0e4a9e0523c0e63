"""Create the answers kept for idempotency keys."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import row_security, types

revision = "core_0004"
down_revision = "core_0003"
branch_labels = None
depends_on = "core_0002"


def upgrade() -> None:
    op.create_table(
        "idempotent_answers",
        sa.Column("actor_id", sa.Uuid(), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("tenant_id", sa.Uuid()),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", types.Json, nullable=False),
        sa.Column("body", types.Json, nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
    )
    op.create_index("ix_idempotent_answers_tenant_id", "idempotent_answers", ["tenant_id"])
    op.create_index("ix_idempotent_answers_created_at", "idempotent_answers", ["created_at"])
    row_security.protect("idempotent_answers")


def downgrade() -> None:
    op.drop_table("idempotent_answers")
