"""Give API keys several secrets, limits, and the time of their last use."""

import sqlalchemy as sa
from alembic import op

from control_plane.core import row_security, types

revision = "identity_0003"
down_revision = "identity_0002"
branch_labels = None
depends_on = "core_0002"

LIMITS = ("models", "endpoints", "methods", "addresses")
TIMES = ("rotated_at", "last_used_at")
CONVENTION = {"uq": "uq_%(table_name)s_%(column_0_N_name)s"}

KEYS = sa.table(
    "api_keys", *map(sa.column, ("id", "tenant_id", "public_id", "digest", "created_at"))
)
SECRETS = sa.table(
    "api_key_secrets",
    *map(sa.column, ("public_id", "tenant_id", "key_id", "digest", "created_at")),
)


def upgrade() -> None:
    with op.batch_alter_table("api_keys") as keys:
        keys.add_column(sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
        for name in LIMITS:
            keys.add_column(sa.Column(name, types.Json))
        for name in TIMES:
            keys.add_column(sa.Column(name, types.UtcDateTime()))
        keys.create_unique_constraint("uq_api_keys_tenant_id_id", ["tenant_id", "id"])
    op.create_table(
        "api_key_secrets",
        sa.Column("public_id", sa.String(12), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("expires_at", types.UtcDateTime()),
    )
    op.create_index(
        "ix_api_key_secrets_tenant_id_key_id", "api_key_secrets", ["tenant_id", "key_id"]
    )
    op.execute(
        sa.insert(SECRETS).from_select(
            ["public_id", "tenant_id", "key_id", "digest", "created_at"],
            sa.select(
                KEYS.c.public_id, KEYS.c.tenant_id, KEYS.c.id, KEYS.c.digest, KEYS.c.created_at
            ),
        )
    )
    with op.batch_alter_table("api_keys", naming_convention=CONVENTION) as keys:
        keys.drop_constraint("uq_api_keys_public_id", type_="unique")
        keys.drop_column("public_id")
        keys.drop_column("digest")
    # Only now: SQLite changes a table by dropping it, which deletes what hangs on it by a cascade.
    with op.batch_alter_table("api_key_secrets") as secrets:
        secrets.create_foreign_key(
            "fk_api_key_secrets_tenant_id_key_id_api_keys",
            "api_keys",
            ["tenant_id", "key_id"],
            ["tenant_id", "id"],
            ondelete="CASCADE",
        )
    row_security.protect("api_key_secrets")


def downgrade() -> None:
    op.add_column("api_keys", sa.Column("public_id", sa.String(12)))
    op.add_column("api_keys", sa.Column("digest", sa.String(64)))
    for name in ("public_id", "digest"):
        newest = (
            sa.select(SECRETS.c[name])
            .where(SECRETS.c.key_id == KEYS.c.id)
            .order_by(SECRETS.c.created_at.desc())
            .limit(1)
            .scalar_subquery()
        )
        op.execute(sa.update(KEYS).values({name: newest}))
    op.drop_table("api_key_secrets")
    with op.batch_alter_table("api_keys", naming_convention=CONVENTION) as keys:
        keys.alter_column("public_id", existing_type=sa.String(12), nullable=False)
        keys.alter_column("digest", existing_type=sa.String(64), nullable=False)
        keys.create_unique_constraint("uq_api_keys_public_id", ["public_id"])
        keys.drop_constraint("uq_api_keys_tenant_id_id", type_="unique")
        for name in ("version", *LIMITS, *TIMES):
            keys.drop_column(name)
