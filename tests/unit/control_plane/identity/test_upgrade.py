"""The upgrade that gave users roles and names without case keeps who was there, and signed in."""

import uuid

import pytest
import sqlalchemy as sa

from control_plane.core import clock, migrations, types
from control_plane.core.database import Database

USERS = sa.table(
    "users",
    sa.column("id", sa.Uuid()),
    sa.column("username"),
    sa.column("username_key"),
    sa.column("password_hash"),
    sa.column("role"),
    sa.column("status"),
    sa.column("creation_date", types.UtcDateTime()),
    sa.column("version"),
)
SESSIONS = sa.table(
    "user_sessions",
    sa.column("id", sa.Uuid()),
    sa.column("user_id", sa.Uuid()),
    sa.column("created_at", types.UtcDateTime()),
    sa.column("version"),
)
TOKENS = sa.table(
    "refresh_tokens",
    sa.column("digest"),
    sa.column("session_id", sa.Uuid()),
    sa.column("expires_at", types.UtcDateTime()),
)


def add(database: Database, username: str) -> uuid.UUID:
    """Add a user who has signed in."""
    user_id, session_id = uuid.uuid4(), uuid.uuid4()
    now = clock.now()
    user = {"id": user_id, "username": username, "password_hash": "x", "role": "operator"}
    with database.owner_transaction() as connection:
        connection.execute(sa.insert(USERS).values(**user, status="active", creation_date=now))
        connection.execute(
            sa.insert(SESSIONS).values(id=session_id, user_id=user_id, created_at=now)
        )
        connection.execute(
            sa.insert(TOKENS).values(digest=username, session_id=session_id, expires_at=now)
        )
    return user_id


def test_users_and_their_sign_ins_are_kept(old: Database) -> None:
    ids = {name: add(old, name) for name in ("Li", "ｗｕ")}
    migrations.upgrade(old)
    with old.owner_transaction() as connection:
        users = connection.execute(
            sa.select(USERS.c.username, USERS.c.username_key, USERS.c.role, USERS.c.version)
        ).all()
        sessions = connection.execute(sa.select(SESSIONS.c.user_id, SESSIONS.c.version)).all()
        tokens = connection.scalars(sa.select(TOKENS.c.digest)).all()
    assert sorted(map(tuple, users)) == [("Li", "li", "operator", 1), ("ｗｕ", "wu", "operator", 1)]
    assert {user_id for user_id, _ in sessions} == set(ids.values())
    assert {version for _, version in sessions} == {1}
    assert sorted(tokens) == ["Li", "ｗｕ"]


def test_names_that_would_become_one_stop_the_upgrade(old: Database) -> None:
    add(old, "li")
    add(old, "LI")
    with pytest.raises(RuntimeError, match="same name"):
        migrations.upgrade(old)
    with old.owner_transaction() as connection:
        assert "roles" not in sa.inspect(connection).get_table_names()
