"""The upgrade that gave API keys several secrets keeps every key, and so does the way back."""

import uuid
from typing import Any

import sqlalchemy as sa
from alembic import command

from control_plane.core import clock, migrations, tenancy, types
from control_plane.core.database import Database
from control_plane.identity import documents

TENANTS = sa.table(
    "tenants",
    sa.column("id", sa.Uuid()),
    sa.column("name"),
    sa.column("status"),
    sa.column("creation_date", types.UtcDateTime()),
    sa.column("feature_flags", types.Json),
    sa.column("ui_theme", types.Json),
)
KEYS = sa.table(
    "api_keys",
    sa.column("id", sa.Uuid()),
    sa.column("tenant_id", sa.Uuid()),
    sa.column("name"),
    sa.column("public_id"),
    sa.column("digest"),
    sa.column("created_at", types.UtcDateTime()),
    sa.column("revoked_at", types.UtcDateTime()),
)


def test_keys_are_kept_both_ways(old: Database) -> None:
    now, tenant_id = clock.now(), uuid.uuid4()
    good, revoked = (
        {
            "id": uuid.uuid4(),
            "tenant_id": tenant_id,
            "name": name,
            "public_id": name * 12,
            "digest": name * 64,
            "created_at": now,
            "revoked_at": revoked_at,
        }
        for name, revoked_at in (("a", None), ("b", now))
    )
    with old.owner_transaction() as connection:
        tenant = {"id": tenant_id, "name": "t", "status": "active", "creation_date": now}
        empty = {"feature_flags": {}, "ui_theme": {}}
        connection.execute(sa.insert(TENANTS).values(**tenant, **empty))
        connection.execute(sa.insert(KEYS), [good, revoked])
    migrations.upgrade(old)
    with tenancy.platform_context(), old.session(write=False) as session:
        assert documents.compile_credentials(session, None) == {
            good["public_id"]: {
                "tenant": str(tenant_id),
                "key": str(good["id"]),
                "digest": good["digest"],
                "expiresAt": None,
            }
        }
    with old.owner_transaction() as connection:
        command.downgrade(migrations.config(connection), "identity_0002")
        rows = connection.execute(sa.select(KEYS).order_by(KEYS.c.name)).mappings()
        found: list[dict[str, Any]] = [dict(row) for row in rows]
    assert found == [good, revoked]
