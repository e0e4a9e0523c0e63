"""Create identity providers, who their users are here, and codes for their browsers."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import row_security, types

revision = "single_sign_on_0001"
down_revision = None
branch_labels = ("single_sign_on",)
depends_on = "identity_0003"


def upgrade() -> None:
    _create_providers()
    op.create_table(
        "external_identities",
        sa.Column(
            "provider_id",
            sa.Uuid(),
            sa.ForeignKey("identity_providers.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column(
            "user_id", sa.Uuid(), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("provider_id", "subject"),
    )
    op.create_index("ix_external_identities_user_id", "external_identities", ["user_id"])
    op.create_table(
        "sign_in_codes",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column(
            "user_id", sa.Uuid(), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("expires_at", types.UtcDateTime(), nullable=False),
    )
    op.create_index("ix_sign_in_codes_user_id", "sign_in_codes", ["user_id"])
    op.create_index("ix_sign_in_codes_expires_at", "sign_in_codes", ["expires_at"])
    for table in ("external_identities", "sign_in_codes"):
        row_security.protect_through(table, "user_id", "users")


def _create_providers() -> None:
    op.create_table(
        "identity_providers",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id")),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("issuer", sa.String(1024), nullable=False),
        sa.Column("client_id", sa.String(255), nullable=False),
        sa.Column("client_secret", types.EncryptedText()),
        sa.Column("scopes", types.Json, nullable=False),
        sa.Column("allowed_email_domains", types.Json, nullable=False),
        sa.Column("role", sa.String(16)),
        sa.Column("custom_role_id", sa.Uuid(), sa.ForeignKey("roles.id")),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
        sa.UniqueConstraint("tenant_id", "name"),
        sa.ForeignKeyConstraint(["tenant_id", "custom_role_id"], ["roles.tenant_id", "roles.id"]),
    )
    op.create_index(
        "ix_identity_providers_custom_role_id", "identity_providers", ["custom_role_id"]
    )
    without_tenant = sa.column("tenant_id").is_(None)
    op.create_index(
        "uq_identity_providers_platform_name",
        "identity_providers",
        ["name"],
        unique=True,
        sqlite_where=without_tenant,
        postgresql_where=without_tenant,
    )
    row_security.protect("identity_providers")


def downgrade() -> None:
    for table in ("sign_in_codes", "external_identities", "identity_providers"):
        op.drop_table(table)
