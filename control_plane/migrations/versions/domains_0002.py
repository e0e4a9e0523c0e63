"""Give domains versions."""

import sqlalchemy as sa
from alembic import op

revision = "domains_0002"
down_revision = "domains_0001"
branch_labels = None
depends_on = None

TABLES = ("domains",)


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("version", sa.Integer(), nullable=False, server_default="1"))


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "version")
