"""Give users custom roles, names without case, invitations and familiar networks."""

import unicodedata
from typing import Any

import sqlalchemy as sa
from alembic import op

from control_plane.core import row_security, types

revision = "identity_0002"
down_revision = "identity_0001"
branch_labels = None
depends_on = "core_0002"

VERSIONED = ("users", "user_sessions")
CHILDREN = ("user_sessions", "refresh_tokens")
CONVENTION = {
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
}


def upgrade() -> None:
    _create_roles()
    for table in VERSIONED:
        op.add_column(table, sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("user_sessions", sa.Column("network", sa.String(43)))
    op.add_column("user_sessions", sa.Column("user_agent", sa.String(200)))
    op.add_column("users", sa.Column("username_key", sa.String(100)))
    _fill_name_keys()
    children = _take_away_children()
    with op.batch_alter_table("users", naming_convention=CONVENTION) as users:
        users.alter_column("username_key", existing_type=sa.String(100), nullable=False)
        users.alter_column("password_hash", existing_type=sa.String(200), nullable=True)
        users.alter_column("role", existing_type=sa.String(16), nullable=True)
        users.add_column(sa.Column("custom_role_id", sa.Uuid()))
        users.drop_constraint("uq_users_username", type_="unique")
        users.create_unique_constraint("uq_users_username_key", ["username_key"])
        users.create_foreign_key(
            "fk_users_custom_role_id_roles", "roles", ["custom_role_id"], ["id"]
        )
        users.create_foreign_key(
            "fk_users_tenant_id_custom_role_id_roles",
            "roles",
            ["tenant_id", "custom_role_id"],
            ["tenant_id", "id"],
        )
        users.create_index("ix_users_custom_role_id", ["custom_role_id"])
    _give_back(children)
    _create_tables_of_sign_ins()


def _take_away_children() -> dict[str, list[dict[str, Any]]]:
    """Return what refers to users on SQLite, which changes a table by dropping it."""
    bind = op.get_bind()
    if bind.dialect.name != "sqlite":
        return {}
    return {
        table: [dict(row) for row in bind.exec_driver_sql(f"SELECT * FROM {table}").mappings()]  # noqa: S608
        for table in CHILDREN
    }


def _give_back(children: dict[str, list[dict[str, Any]]]) -> None:
    for table, rows in children.items():
        if rows:
            op.bulk_insert(sa.table(table, *map(sa.column, rows[0])), rows)


def _create_roles() -> None:
    op.create_table(
        "roles",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("tenants.id")),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("description", sa.String(500)),
        sa.Column("permissions", types.Json, nullable=False),
        sa.Column("creation_date", types.UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
        sa.UniqueConstraint("tenant_id", "name"),
        sa.UniqueConstraint("tenant_id", "id"),
    )
    without_tenant = sa.column("tenant_id").is_(None)
    op.create_index(
        "uq_roles_platform_name",
        "roles",
        ["name"],
        unique=True,
        sqlite_where=without_tenant,
        postgresql_where=without_tenant,
    )
    row_security.protect("roles")


def _fill_name_keys() -> None:
    """Key the names that there are; stop when two would become one, which only people can solve."""
    users = sa.table(
        "users", sa.column("id", sa.Uuid()), sa.column("username"), sa.column("username_key")
    )
    connection = op.get_bind()
    taken: dict[str, str] = {}
    for user_id, username in connection.execute(sa.select(users.c.id, users.c.username)).all():
        plain = unicodedata.normalize("NFKC", username).casefold()
        key = unicodedata.normalize("NFKC", plain)[:100]
        if key in taken:
            raise RuntimeError(
                f"The users {taken[key]} and {username} would have the same name, because names "
                "are compared without case from now on: rename one of them, then upgrade."
            )
        taken[key] = username
        connection.execute(sa.update(users).where(users.c.id == user_id).values(username_key=key))


def _create_tables_of_sign_ins() -> None:
    op.create_table(
        "familiar_networks",
        sa.Column(
            "user_id", sa.Uuid(), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("network", sa.String(43), nullable=False),
        sa.Column("last_seen", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "network"),
    )
    op.create_index("ix_familiar_networks_last_seen", "familiar_networks", ["last_seen"])
    op.create_table(
        "mailed_tokens",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column(
            "user_id", sa.Uuid(), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("expires_at", types.UtcDateTime(), nullable=False),
    )
    op.create_index("ix_mailed_tokens_user_id", "mailed_tokens", ["user_id"])
    op.create_index("ix_mailed_tokens_expires_at", "mailed_tokens", ["expires_at"])
    for table in ("familiar_networks", "mailed_tokens"):
        row_security.protect_through(table, "user_id", "users")
    op.create_table(
        "password_reset_requests",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("username_key", sa.String(100)),
        sa.Column("email", sa.String(254)),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
    )


def downgrade() -> None:
    for table in ("password_reset_requests", "mailed_tokens", "familiar_networks"):
        op.drop_table(table)
    children = _take_away_children()
    with op.batch_alter_table("users", naming_convention=CONVENTION) as users:
        users.drop_index("ix_users_custom_role_id")
        users.drop_constraint("fk_users_tenant_id_custom_role_id_roles", type_="foreignkey")
        users.drop_constraint("fk_users_custom_role_id_roles", type_="foreignkey")
        users.drop_constraint("uq_users_username_key", type_="unique")
        users.create_unique_constraint("uq_users_username", ["username"])
        users.drop_column("custom_role_id")
        users.drop_column("username_key")
        users.alter_column("role", existing_type=sa.String(16), nullable=False)
        users.alter_column("password_hash", existing_type=sa.String(200), nullable=False)
    _give_back(children)
    op.drop_column("user_sessions", "user_agent")
    op.drop_column("user_sessions", "network")
    for table in VERSIONED:
        op.drop_column(table, "version")
    op.drop_table("roles")
