"""Let roles keep single fields from their users."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import types

revision = "identity_0004"
down_revision = "identity_0003"
branch_labels = None
depends_on = "core_0002"


def upgrade() -> None:
    op.add_column(
        "roles",
        sa.Column("field_permissions", types.Json, nullable=False, server_default="{}"),
    )


def downgrade() -> None:
    op.drop_column("roles", "field_permissions")
