"""Create the usage events and what their consumer remembers."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import types

revision = "usage_0001"
down_revision = None
branch_labels = ("usage",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usage_events",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("writer", sa.String(80), primary_key=True),
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("duration_us", sa.BigInteger(), nullable=False),
        sa.Column("first_byte_us", sa.BigInteger(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("upstream_status", sa.Integer(), nullable=False),
        sa.Column("is_stream", sa.Boolean(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("request_bytes", sa.BigInteger(), nullable=False),
        sa.Column("response_bytes", sa.BigInteger(), nullable=False),
        sa.Column("usage_source", sa.SmallInteger(), nullable=False),
        sa.Column("tokens_in", sa.BigInteger()),
        sa.Column("tokens_out", sa.BigInteger()),
        sa.Column("tokens_cached", sa.BigInteger()),
        sa.Column("tokens_reasoning", sa.BigInteger()),
        sa.Column("cost", types.Decimal12(), nullable=False),
        postgresql_partition_by="RANGE (day)",
    )
    op.create_index(
        "ix_usage_events_tenant_id_started_us", "usage_events", ["tenant_id", "started_us"]
    )
    op.create_table(
        "usage_pending",
        sa.Column("writer", sa.String(80), primary_key=True),
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "usage_writers",
        sa.Column("writer", sa.String(80), primary_key=True),
        sa.Column("covered", types.Json, nullable=False),
        sa.Column("end", types.Json),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("decided", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", types.UtcDateTime(), nullable=False),
    )
    op.create_table(
        "usage_quarantine",
        sa.Column("writer", sa.String(80), primary_key=True),
        sa.Column("place", sa.String(80), primary_key=True),
        sa.Column("reason", sa.String(20), primary_key=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("usage_quarantine")
    op.drop_table("usage_writers")
    op.drop_table("usage_pending")
    op.drop_table("usage_events")
