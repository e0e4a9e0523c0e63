"""Create the domains."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import types

revision = "domains_0001"
down_revision = None
branch_labels = ("domains",)
depends_on = "tenants_0001"


def upgrade() -> None:
    op.create_table(
        "domains",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("domain_name", sa.String(253), nullable=False),
        sa.Column("is_verified", sa.Boolean(), nullable=False),
        sa.Column("is_primary", sa.Boolean(), nullable=False),
        sa.Column("ssl_enabled", sa.Boolean(), nullable=False),
        sa.Column("verification_token", sa.String(64), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("verified_at", types.UtcDateTime()),
        sa.UniqueConstraint("tenant_id", "domain_name"),
    )
    op.create_index("ix_domains_tenant_id", "domains", ["tenant_id"])
    for name, column, only in (
        ("uq_domains_verified_name", "domain_name", "is_verified"),
        ("uq_domains_primary", "tenant_id", "is_primary"),
    ):
        where = sa.column(only, sa.Boolean()).is_(sa.true())
        op.create_index(
            name, "domains", [column], unique=True, sqlite_where=where, postgresql_where=where
        )


def downgrade() -> None:
    op.drop_table("domains")
