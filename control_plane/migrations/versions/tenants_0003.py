"""Say of tenants where their business rows lie."""

import sqlalchemy as sa
from alembic import op

revision = "tenants_0003"
down_revision = "tenants_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    isolation = sa.Column("isolation", sa.String(16), nullable=False, server_default="row")
    op.add_column("tenants", isolation)


def downgrade() -> None:
    op.drop_column("tenants", "isolation")
