"""A worker that is killed in the middle of a purge; the next one finishes it."""

import uuid

from sqlalchemy import func, insert, inspect, select

from control_plane.core import clock, tenancy
from control_plane.core.database import Database
from control_plane.core.settings import Settings
from control_plane.domains.models import Domain
from control_plane.tenants import Tenant
from control_plane.tenants.models import Isolation, TenantStatus
from control_plane.tenants.service import lifecycle
from tests import factories
from tests.stack import until
from tests.worker_process import WorkerProcess

ROWS = 3000


def fill(database: Database, tenant: Tenant) -> None:
    """Give a tenant more than is purged in one transaction."""
    with tenancy.platform_context(), database.transaction() as session:
        session.execute(
            insert(Domain.__table__),
            [
                {
                    "tenant_id": tenant.id,
                    "domain_name": f"{number}.{tenant.id.hex}.example.com",
                    "verification_token": "x",
                }
                for number in range(ROWS)
            ],
        )
    factories.make_tenant_models(database, [tenant.id], 3)


def left(database: Database, tenant_id: uuid.UUID) -> int:
    with tenancy.platform_context(), database.session(write=False) as session:
        query = select(func.count()).select_from(Domain).where(Domain.tenant_id == tenant_id)
        return session.scalar(query) or 0


def test_a_purge_that_was_killed_is_finished_by_the_next_worker(
    settings: Settings, database: Database
) -> None:
    isolation = Isolation.ROW if database.is_sqlite else Isolation.SCHEMA
    gone, kept = (factories.make_tenant(database, isolation=isolation) for _ in range(2))
    fill(database, gone)
    fill(database, kept)
    with tenancy.platform_context(), database.transaction() as session:
        lifecycle.delete_tenant(session, session.get_one(Tenant, gone.id), grace_days=0)
    with WorkerProcess(settings) as worker:
        until(lambda: 0 < left(database, gone.id) < ROWS, "the purge has begun", 30)
        worker.process.kill()
        worker.process.wait(10)
    assert 0 < left(database, gone.id) < ROWS
    with tenancy.platform_context(), database.session(write=False) as session:
        killed = session.get_one(Tenant, gone.id)
        assert killed.status is TenantStatus.INACTIVE
        assert killed.purge_date is not None
        assert killed.purge_date <= clock.now()
    with WorkerProcess(settings):
        until(lambda: not exists(database, gone.id), "the tenant is purged", 60)
    assert left(database, gone.id) == 0
    assert left(database, kept.id) == ROWS
    assert exists(database, kept.id)
    if not database.is_sqlite:
        schemas = inspect(database.engine).get_schema_names()
        assert f"t_{kept.id.hex}" in schemas
        assert f"t_{gone.id.hex}" not in schemas


def exists(database: Database, tenant_id: uuid.UUID) -> bool:
    with tenancy.platform_context(), database.session(write=False) as session:
        return session.get(Tenant, tenant_id) is not None
