"""The upgrade that gave a tenant's configuration a table keeps flags and theme, both ways."""

import uuid
from typing import Any

import sqlalchemy as sa
from alembic import command

from control_plane.core import clock, migrations, tenancy, types
from control_plane.core.database import Database
from control_plane.tenants import get_tenant
from control_plane.tenants.models import EVERY_MODEL, Isolation

TENANTS = sa.table(
    "tenants",
    sa.column("id", sa.Uuid()),
    sa.column("name"),
    sa.column("status"),
    sa.column("creation_date", types.UtcDateTime()),
    sa.column("feature_flags", types.Json),
    sa.column("ui_theme", types.Json),
)


def test_flags_and_theme_move_into_the_configuration_and_back(old: Database) -> None:
    before = [
        {
            "id": uuid.uuid4(),
            "name": name,
            "status": "active",
            "creation_date": clock.now(),
            "feature_flags": flags,
            "ui_theme": theme,
        }
        for name, flags, theme in (
            ("a", {"beta": True, "新": False}, {"color": "#fff"}),
            ("b", {}, {}),
            ("c", {}, {"logo": "玉门"}),
        )
    ]
    with old.owner_transaction() as connection:
        connection.execute(sa.insert(TENANTS), before)
    migrations.upgrade(old)
    with tenancy.platform_context(), old.session(write=False) as session:
        for row in before:
            tenant = get_tenant(session, row["id"])
            configuration = tenant.configurations
            assert configuration.feature_flags == row["feature_flags"]
            assert configuration.ui_theme == row["ui_theme"]
            assert configuration.ai_model_access == [EVERY_MODEL]
            assert configuration.api_call_limits == {}
            assert (tenant.time_zone, tenant.purge_date) == ("Asia/Shanghai", None)
            assert (tenant.isolation, tenant.version, configuration.version) == (
                Isolation.ROW,
                1,
                1,
            )
    with old.owner_transaction() as connection:
        command.downgrade(migrations.config(connection), "tenants_0001")
        rows = connection.execute(sa.select(TENANTS).order_by(TENANTS.c.name)).mappings()
        found: list[dict[str, Any]] = [dict(row) for row in rows]
    assert found == before
