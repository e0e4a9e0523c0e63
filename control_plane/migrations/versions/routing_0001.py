"""Create upstreams and routes."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import row_security, types

revision = "routing_0001"
down_revision = None
branch_labels = ("routing",)
depends_on = ("tenants_0001", "core_0002")


def upgrade() -> None:
    op.create_table(
        "upstreams",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id")),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("is_shared", sa.Boolean(), nullable=False),
        sa.Column("scheme", sa.String(8), nullable=False),
        sa.Column("pass_host", sa.String(8), nullable=False),
        sa.Column("host", sa.String(260)),
        sa.Column("server_name", sa.String(253)),
        sa.Column("balancing", sa.String(32), nullable=False),
        sa.Column("hash_on", types.Json),
        sa.Column("targets", types.Json, nullable=False),
        sa.Column("service", types.Json),
        sa.Column("discovery", sa.String(253)),
        sa.Column("health_check", types.Json),
        sa.Column("passive", types.Json),
        sa.Column("retries", types.Json, nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
        sa.UniqueConstraint("tenant_id", "name"),
    )
    without_tenant = sa.column("tenant_id").is_(None)
    op.create_index(
        "uq_upstreams_platform_name",
        "upstreams",
        ["name"],
        unique=True,
        sqlite_where=without_tenant,
        postgresql_where=without_tenant,
    )
    op.create_index("ix_upstreams_discovery", "upstreams", ["discovery"])
    row_security.protect("upstreams")
    op.create_table(
        "routes",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("domains", types.Json, nullable=False),
        sa.Column("path", types.Json, nullable=False),
        sa.Column("methods", types.Json),
        sa.Column("headers", types.Json, nullable=False),
        sa.Column("upstream_id", sa.Uuid(), sa.ForeignKey("upstreams.id"), nullable=False),
        sa.Column("strip_prefix", sa.Boolean(), nullable=False),
        sa.Column("rewrite", types.Json),
        sa.Column("request_headers", types.Json, nullable=False),
        sa.Column("response_headers", types.Json, nullable=False),
        sa.Column("max_request_bytes", sa.BigInteger()),
        sa.Column("max_response_bytes", sa.BigInteger()),
        sa.Column("timeouts", types.Json, nullable=False),
        sa.Column("web_socket", types.Json, nullable=False),
        sa.Column("cors", types.Json),
        sa.Column("allow_addresses", types.Json, nullable=False),
        sa.Column("deny_addresses", types.Json, nullable=False),
        sa.Column("authentication", types.Json, nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
        sa.UniqueConstraint("tenant_id", "name"),
    )
    op.create_index("ix_routes_tenant_id", "routes", ["tenant_id"])
    op.create_index("ix_routes_upstream_id", "routes", ["upstream_id"])
    row_security.protect("routes")


def downgrade() -> None:
    op.drop_table("routes")
    op.drop_table("upstreams")
