"""Makes what tests need in the database, with as little said as possible."""

import datetime
import functools
import itertools
from typing import Any

from flask import Flask

from control_plane import identity, tenants
from control_plane.core import tenancy
from control_plane.core.auth import Role
from control_plane.core.database import Database
from control_plane.identity import User, tokens
from control_plane.identity.service import sessions
from control_plane.tenants import Tenant

PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


@functools.cache
def password_hash() -> str:
    """Return the hash of `PASSWORD`; hashing takes long, so one serves all."""
    return identity.hash_password(PASSWORD)


def make_tenant(database: Database, **fields: Any) -> Tenant:
    """Create a tenant."""
    with tenancy.platform_context(), database.transaction() as session:
        return tenants.create_tenant(session, **{"name": f"Tenant {next(_numbers)}", **fields})


def make_user(database: Database, tenant: Tenant | None = None, role: Role = Role.ADMIN) -> User:
    """Create a user of *tenant*, or of the platform, who signs in with `PASSWORD`."""
    with tenancy.platform_context(), database.transaction() as session:
        return identity.create_user(
            session,
            username=f"user-{next(_numbers)}",
            password_hash=password_hash(),
            role=role,
            tenant_id=None if tenant is None else tenant.id,
        )


def sign_in(app: Flask, user: User) -> dict[str, str]:
    """Return the header of a request by *user*, as a sign-in would give it."""
    database: Database = app.extensions["yumen_database"]
    with app.app_context(), tenancy.platform_context(), database.transaction() as session:
        opened = sessions.open_session(session, user.id, datetime.timedelta(days=1))
        return {"Authorization": f"Bearer {tokens.access_token(opened)}"}
