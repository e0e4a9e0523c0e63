"""Many threads of many tenants on few connections: no row of another tenant, whatever fails."""

import dataclasses
import itertools
import os
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.core.settings import Settings
from control_plane.tenants import Tenant
from control_plane.tenants.models import Isolation
from tests import factories

THREADS, CONNECTIONS, TENANTS = 32, 4, 8
REQUESTS = int(os.environ.get("ISOLATION_REQUESTS", "100"))
"""Of each thread; 1000 by hand."""
# Past the ORM's filter on purpose: what is tried is the scope that the connection carries.
PAST_THE_FILTER = text(
    "SELECT id FROM tenants UNION ALL SELECT tenant_id FROM tenant_model_configs"
)


class BrokenRequestError(Exception):
    """What a view may raise anywhere."""


@pytest.fixture
def small_pool(settings: Settings) -> Any:
    few = dataclasses.replace(settings.database, pool_size=CONNECTIONS)
    database = Database(dataclasses.replace(settings, database=few))
    # The pool is not fair: who has just returned a connection is the first to take it again.
    database.engine.pool._max_overflow, database.engine.pool._timeout = 0, 300
    yield database
    database.close()


def request(database: Database, tenant_id: uuid.UUID, chance: random.Random) -> set[uuid.UUID]:
    """Do what a request may do, and return the tenants it saw."""
    seen: set[uuid.UUID] = set()
    with tenancy.tenant_context(tenant_id), database.session() as session:
        seen.update(session.scalars(PAST_THE_FILTER))
        fate = chance.randrange(6)
        if fate == 0:
            raise BrokenRequestError
        if fate == 1:
            session.execute(text("SET LOCAL statement_timeout = 1"))
            session.execute(text("SELECT pg_sleep(1)"))
        if fate == 2:
            seen.update(_after_a_savepoint(session, tenant_id))
        seen.update(session.scalars(select(Tenant.id)))
        if fate > 3:
            session.commit()
            seen.update(session.scalars(PAST_THE_FILTER))
    return seen


def _after_a_savepoint(session: Session, tenant_id: uuid.UUID) -> set[uuid.UUID]:
    savepoint = session.begin_nested()
    with tenancy.platform_context():
        assert len(session.scalars(PAST_THE_FILTER).all()) == 2 * TENANTS
    savepoint.rollback()
    return set(session.scalars(PAST_THE_FILTER))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_no_request_sees_another_tenants_rows(small_pool: Database) -> None:
    places = itertools.cycle(Isolation)
    tenants = [factories.make_tenant(small_pool, isolation=next(places)).id for _ in range(TENANTS)]
    factories.make_tenant_models(small_pool, tenants)
    opened: list[object] = []
    event.listen(small_pool.engine, "connect", lambda connection, _: opened.append(connection))

    def thread(number: int) -> tuple[int, int, int]:
        chance = random.Random(number)
        wrong = failed = 0
        turns = itertools.islice(itertools.cycle(tenants), number, number + REQUESTS)
        for tenant_id in turns:
            try:
                wrong += request(small_pool, tenant_id, chance) != {tenant_id}
            except (BrokenRequestError, OperationalError):
                failed += 1
        return REQUESTS, wrong, failed

    with ThreadPoolExecutor(THREADS) as pool:
        results = [sum(each) for each in zip(*pool.map(thread, range(THREADS)), strict=True)]
    done, wrong, failed = results
    print(f"{done} requests, {failed} failed, {wrong} saw another tenant")  # noqa: T201
    assert (done, wrong) == (THREADS * REQUESTS, 0)
    assert failed > done / 6
    assert len(opened) <= CONNECTIONS
    assert small_pool.engine.pool.checkedout() == 0
