"""Create the queue of mails."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import types

revision = "core_0003"
down_revision = "core_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "queued_mails",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("content", types.EncryptedText(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("due_at", types.UtcDateTime()),
        sa.Column("worthless_after", types.UtcDateTime()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(500)),
    )
    op.create_index("ix_queued_mails_due_at", "queued_mails", ["due_at"])


def downgrade() -> None:
    op.drop_table("queued_mails")
