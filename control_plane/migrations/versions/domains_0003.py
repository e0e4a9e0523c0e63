"""Say how domains were verified, when they are checked again, and when claims lapse."""

import datetime

import sqlalchemy as sa
from alembic import op

from control_plane.core import clock, types

revision = "domains_0003"
down_revision = "domains_0002"
branch_labels = None
depends_on = None

COLUMNS = ("expires_at", "check_at", "missing_since")
CLAIM = datetime.timedelta(days=7)


def upgrade() -> None:
    op.add_column("domains", sa.Column("verification_method", sa.String(16)))
    for name in COLUMNS:
        op.add_column("domains", sa.Column(name, types.UtcDateTime()))
    domains = sa.table(
        "domains",
        sa.column("is_verified", sa.Boolean()),
        sa.column("verification_method", sa.String(16)),
        sa.column("expires_at", types.UtcDateTime()),
    )
    verified = domains.c.is_verified.is_(sa.true())
    # How they were verified was not kept: none of them may stop routing by this.
    op.execute(domains.update().where(verified).values(verification_method="manual"))
    ends = clock.now() + CLAIM
    op.execute(domains.update().where(~verified).values(expires_at=ends))
    op.create_index("ix_domains_check_at", "domains", ["check_at"])


def downgrade() -> None:
    op.drop_index("ix_domains_check_at", "domains")
    for name in ("verification_method", *COLUMNS):
        op.drop_column("domains", name)
