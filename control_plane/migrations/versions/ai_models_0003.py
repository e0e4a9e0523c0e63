"""Let what tenants may call lie in schemas of their own."""

from alembic import op

from control_plane.core import tenant_schemas

revision = "ai_models_0003"
down_revision = "ai_models_0002"
branch_labels = None
depends_on = "core_0005"

TABLE = "tenant_model_configs"
KEY = "pk_tenant_model_configs"


def upgrade() -> None:
    op.drop_index("ix_tenant_model_configs_tenant_id", TABLE)
    _rekey("tenant_id", "id")
    tenant_schemas.divide(TABLE)


def downgrade() -> None:
    tenant_schemas.unite(TABLE)
    _rekey("id")
    op.create_index("ix_tenant_model_configs_tenant_id", TABLE, ["tenant_id"])


def _rekey(*columns: str) -> None:
    with op.batch_alter_table(TABLE) as table:
        table.drop_constraint(KEY, type_="primary")
        table.create_primary_key(KEY, list(columns))
