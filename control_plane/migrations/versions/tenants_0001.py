"""Create the tenants."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import types

revision = "tenants_0001"
down_revision = None
branch_labels = ("tenants",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("contact_person", sa.String(200)),
        sa.Column("contact_email", sa.String(254)),
        sa.Column("contact_phone", sa.String(50)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("suspension_reason", sa.String(500)),
        sa.Column("creation_date", types.UtcDateTime(), nullable=False),
        sa.Column("expiry_date", types.UtcDateTime()),
        sa.Column("max_users", sa.Integer()),
        sa.Column("max_storage", sa.Integer()),
        sa.Column("feature_flags", types.Json, nullable=False),
        sa.Column("ui_theme", types.Json, nullable=False),
    )
    op.create_index("ix_tenants_expiry_date", "tenants", ["expiry_date"])


def downgrade() -> None:
    op.drop_table("tenants")
