"""Keep tenants apart in PostgreSQL itself, by row-level security."""

from alembic import op

from control_plane.core import row_security

revision = "core_0002"
down_revision = "core_0001"
branch_labels = None
depends_on = (
    "identity_0001",
    "domains_0001",
    "ai_models_0001",
    "usage_0001",
)

# The setting is empty, not null, in a transaction that follows one in which it was set.
FUNCTIONS = """
CREATE FUNCTION yumen_is_platform() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('yumen.tenant', true) = 'platform', false);
CREATE FUNCTION yumen_first_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN yumen_is_platform() THEN '00000000-0000-0000-0000-000000000000'::uuid
        ELSE nullif(current_setting('yumen.tenant', true), '')::uuid END;
CREATE FUNCTION yumen_last_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN yumen_is_platform() THEN 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid
        ELSE nullif(current_setting('yumen.tenant', true), '')::uuid END;
"""
TENANTS_TABLES = ("users", "api_keys", "domains", "tenant_model_configs", "usage_events")


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.get_bind().exec_driver_sql(FUNCTIONS)
    row_security.protect("tenants", "id")
    for table in TENANTS_TABLES:
        row_security.protect(table)
    row_security.protect_through("user_sessions", "user_id", "users")
    row_security.protect_through("refresh_tokens", "session_id", "user_sessions")


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in ("tenants", *TENANTS_TABLES, "user_sessions", "refresh_tokens"):
        row_security.unprotect(table)
    op.execute("DROP FUNCTION yumen_last_tenant, yumen_first_tenant, yumen_is_platform")
