"""Create the outbox."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import types

revision = "core_0001"
down_revision = None
branch_labels = ("core",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("payload", types.Json, nullable=False),
        sa.Column("actor_id", sa.Uuid()),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("outbox")
