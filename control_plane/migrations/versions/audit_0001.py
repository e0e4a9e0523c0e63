"""Create the audit log, to which rows can only be added."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import row_security, types

revision = "audit_0001"
down_revision = None
branch_labels = ("audit",)
depends_on = "core_0002"

_CUT = """EXISTS (SELECT 1 FROM audit_cuts AS cut
    WHERE cut.seq >= old.seq AND cut.tenant_id IS NOT DISTINCT FROM old.tenant_id)"""

_TRIM = """
CREATE FUNCTION yumen_trim_audit_logs() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE dropped bigint;
BEGIN
    DELETE FROM audit_logs AS old USING audit_cuts AS cut
        WHERE cut.seq >= old.seq AND cut.tenant_id IS NOT DISTINCT FROM old.tenant_id;
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN dropped;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "audit_logs",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid()),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("actor_type", sa.String(16), nullable=False),
        sa.Column("actor", sa.Text()),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("resource_type", sa.Text()),
        sa.Column("resource_id", sa.Text()),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.Column("request_id", sa.String(128)),
        sa.Column("address", sa.String(45)),
        sa.Column("prev", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.UniqueConstraint("tenant_id", "seq", name=op.f("uq_audit_logs_tenant_id_seq")),
    )
    op.create_index(
        "uq_audit_logs_platform_seq",
        "audit_logs",
        ["seq"],
        unique=True,
        sqlite_where=sa.text("tenant_id IS NULL"),
        postgresql_where=sa.text("tenant_id IS NULL"),
    )
    op.create_index("ix_audit_logs_tenant_id_created_at", "audit_logs", ["tenant_id", "created_at"])
    for column in ("created_at", "resource_id", "request_id"):
        op.create_index(f"ix_audit_logs_{column}", "audit_logs", [column])
    op.create_table(
        "audit_cuts",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), index=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("proof", sa.String(64), nullable=False),
    )
    for table in ("audit_logs", "audit_cuts"):
        row_security.protect(table)
    row_security.append_only("audit_logs", unless=_CUT)
    row_security.append_only("audit_cuts")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_TRIM)
        op.execute("REVOKE ALL ON FUNCTION yumen_trim_audit_logs() FROM PUBLIC")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION yumen_trim_audit_logs()")
    for table in ("audit_cuts", "audit_logs"):
        row_security.append_freely(table)
        row_security.unprotect(table)
        op.drop_table(table)
