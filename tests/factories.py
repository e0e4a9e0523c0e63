"""Makes what tests need in the database, with as little said as possible."""

import datetime
import functools
import itertools
import uuid
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from control_plane import identity, tenants
from control_plane.ai_models.models import AIModel, TenantModelConfig
from control_plane.core import tenancy
from control_plane.core.auth import Role
from control_plane.core.database import Database
from control_plane.identity import User, tokens
from control_plane.identity.service import sessions
from control_plane.tenants import Tenant
from control_plane.tenants.service import lifecycle, purge

PASSWORD = "correct horse battery"
ANY = {"If-Match": "*"}
"""The header of a change of whatever version there is."""
_numbers = itertools.count(1)


@functools.cache
def password_hash() -> str:
    """Return the hash of `PASSWORD`; hashing takes long, so one serves all."""
    return identity.hash_password(PASSWORD)


def if_match(client: FlaskClient, url: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Return *headers* with the ETag that *url* has now, as a change of it needs."""
    return {**headers, "If-Match": client.get(url, headers=headers).headers["ETag"]}


def make_tenant(database: Database, **fields: Any) -> Tenant:
    """Create a tenant."""
    with tenancy.platform_context(), database.transaction() as session:
        return tenants.create_tenant(session, **{"name": f"Tenant {next(_numbers)}", **fields})


def make_tenant_models(database: Database, tenant_ids: Iterable[uuid.UUID], count: int = 1) -> None:
    """Let each of the tenants call *count* new models."""
    with tenancy.platform_context(), database.transaction() as session:
        for _ in range(count):
            model = AIModel(
                name=f"model-{next(_numbers)}",
                provider="openai",
                endpoint="https://203.0.114.9/v1",
                cost_per_call=Decimal(1),
            )
            session.add(model)
            session.flush()
            session.add_all(
                TenantModelConfig(tenant_id=each, model_id=model.id, cost_multiplier=Decimal(1))
                for each in tenant_ids
            )


def purge_tenant(database: Database, tenant: Tenant) -> None:
    """Delete a tenant and let no grace pass until the worker's job has purged it."""
    with tenancy.tenant_context(tenant.id):
        with database.transaction() as session:
            deleted = tenants.get_tenant(session, tenant.id)
            lifecycle.delete_tenant(session, deleted, grace_days=0)
        purged = False
        while not purged:
            with database.transaction() as session:
                purged = purge.purge_part(session, tenant.id)


def make_user(database: Database, tenant: Tenant | None = None, role: str = Role.ADMIN) -> User:
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
