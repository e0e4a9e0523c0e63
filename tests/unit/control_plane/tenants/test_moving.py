"""A tenant's way into a schema of its own and back, whoever writes and whatever is killed."""

import contextlib
import itertools
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm.exc import StaleDataError

from control_plane.ai_models.models import TenantModelConfig
from control_plane.core import tenancy
from control_plane.core.database import Database, is_busy
from control_plane.core.errors import ApiError, Conflict
from control_plane.core.outbox import OutboxEvent
from control_plane.core.settings import Settings
from control_plane.manifest.exporting import exported
from control_plane.tenants import Tenant, get_tenant
from control_plane.tenants.models import Isolation, TenantStatus
from control_plane.tenants.service import lifecycle, moving
from control_plane.tenants.service.moving import MOVING, move_tenant
from tests import factories
from tests.stack import until

TABLE = "tenant_model_configs"
ROWS = 5
PLACES = text(
    f"SELECT tableoid::regclass::text, count(*) FROM {TABLE} WHERE tenant_id = :id GROUP BY 1"
)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def moved(database: Database, tenant: Tenant) -> Tenant:
    """A tenant with rows to move, beside another one with as many."""
    other = factories.make_tenant(database)
    factories.make_tenant_models(database, [tenant.id, other.id], ROWS)
    return tenant


def table_of(tenant: Tenant, isolation: Isolation) -> str:
    return f"{'shared' if isolation is Isolation.ROW else f't_{tenant.id.hex}'}.{TABLE}"


def places(database: Database, tenant: Tenant) -> dict[str, int]:
    """Return which table holds how many of the tenant's rows."""
    with tenancy.platform_context(), database.engine.connect() as connection:
        rows = connection.execute(PLACES, {"id": tenant.id})
        return {table: count for table, count in rows}  # noqa: C416 - a Row is no pair


def now(database: Database, tenant: Tenant) -> Tenant:
    with tenancy.platform_context(), database.session(write=False) as session:
        return get_tenant(session, tenant.id)


def state(database: Database, tenant: Tenant) -> tuple[Isolation, TenantStatus, dict[str, int]]:
    found = now(database, tenant)
    return found.isolation, found.status, places(database, tenant)


def is_whole(database: Database, tenant: Tenant, isolation: Isolation) -> bool:
    found = now(database, tenant)
    return found.isolation is isolation and places(database, tenant) == {
        table_of(tenant, isolation): ROWS
    }


@on_postgresql
def test_a_tenant_moves_there_and_back(database: Database, moved: Tenant) -> None:
    for isolation in (Isolation.SCHEMA, Isolation.ROW, Isolation.SCHEMA):
        assert move_tenant(database, moved.id, isolation) == ROWS
        assert is_whole(database, moved, isolation)
        assert now(database, moved).status is TenantStatus.ACTIVE
        assert move_tenant(database, moved.id, isolation) is None
    with database.session(write=False) as session:
        names = list(session.scalars(select(OutboxEvent.name).order_by(OutboxEvent.id)))
    assert names[-3:] == ["tenants.suspended", "tenants.moved", "tenants.activated"]


@on_postgresql
def test_who_was_not_served_is_not_served_after_it(database: Database, moved: Tenant) -> None:
    with tenancy.platform_context(), database.transaction() as session:
        lifecycle.suspend_tenant(session, moved.id, reason="Has not paid.")
    move_tenant(database, moved.id, Isolation.SCHEMA)
    found = now(database, moved)
    assert (found.status, found.suspension_reason) == (TenantStatus.SUSPENDED, "Has not paid.")


@on_postgresql
def test_a_deleted_or_unknown_tenant_is_not_moved(database: Database, moved: Tenant) -> None:
    with pytest.raises(ApiError, match="no such tenant"):
        move_tenant(database, uuid.uuid4(), Isolation.SCHEMA)
    with tenancy.platform_context(), database.transaction() as session:
        lifecycle.delete_tenant(session, get_tenant(session, moved.id), grace_days=1)
    with pytest.raises(Conflict, match="deleted"):
        move_tenant(database, moved.id, Isolation.SCHEMA)
    assert is_whole(database, moved, Isolation.ROW)


@on_postgresql
def test_a_move_that_fails_serves_the_tenant_again(
    database: Database, moved: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(moving, "TenantMoved", fail)
    with pytest.raises(RuntimeError):
        move_tenant(database, moved.id, Isolation.SCHEMA)
    assert is_whole(database, moved, Isolation.ROW)
    assert now(database, moved).status is TenantStatus.ACTIVE


@on_postgresql
def test_a_move_waits_for_a_moment_and_gives_up_at_last(
    database: Database, moved: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_PATIENCE_SECONDS", 0.1)
    with tenancy.platform_context(), database.engine.begin() as reader:
        reader.execute(PLACES, {"id": moved.id})
        with pytest.raises(OperationalError, match="lock timeout"):
            move_tenant(database, moved.id, Isolation.SCHEMA)
    assert is_whole(database, moved, Isolation.ROW)
    assert now(database, moved).status is TenantStatus.ACTIVE


@on_postgresql
def test_no_tenant_moves_while_the_configuration_is_exported(
    database: Database, moved: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_PATIENCE_SECONDS", 0.1)
    with database.session(write=False) as session:
        sections = exported(session)
        found = [(name, list(objects)) for name, objects in itertools.islice(sections, 1)]
        with pytest.raises(OperationalError, match="lock timeout"):
            move_tenant(database, moved.id, Isolation.SCHEMA)
        found += [(name, list(objects)) for name, objects in sections]
    [tenants] = [objects for name, objects in found if name == "tenants"]
    assert [len(tenant["models"]) for tenant in tenants] == [ROWS, ROWS]
    assert move_tenant(database, moved.id, Isolation.SCHEMA) == ROWS


@contextlib.contextmanager
def moving_process(
    settings: Settings, tenant: Tenant, isolation: Isolation
) -> Iterator[subprocess.Popen[str]]:
    """Run `yumen tenant move` as a process of its own, which may be killed."""
    program = "from control_plane.cli import main; main()"
    arguments = ["tenant", "move", str(tenant.id), "--to", isolation.value]
    environ = {
        "YUMEN_DATABASE_URL": str(settings.database.url),
        "YUMEN_STATE": str(settings.state),
        "YUMEN_REDIS_URL": str(settings.redis.url),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def waits_for(database: Database, statement: str) -> bool:
    """Tell whether somebody waits for a lock while he executes *statement*."""
    question = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE :like"
    )
    with database.engine.connect() as connection:
        return bool(connection.scalar(question, {"like": f"%{statement}%"}))


@on_postgresql
@pytest.mark.parametrize("to", list(Isolation))
@pytest.mark.parametrize(
    "held",
    [
        # It waits before anything is copied, or (on its way there) when all is and is to be used.
        f"SELECT pg_advisory_xact_lock({0x59754D656E})",
        f"SELECT FROM {TABLE}",
    ],
)
def test_a_killed_move_leaves_the_tenant_whole_and_a_second_one_finishes(
    database: Database, settings: Settings, moved: Tenant, to: Isolation, held: str
) -> None:
    [start] = set(Isolation) - {to}
    if start is Isolation.SCHEMA:
        move_tenant(database, moved.id, start)
    with tenancy.platform_context(), database.engine.begin() as holder:
        holder.execute(text(held))
        with moving_process(settings, moved, to) as process:
            until(lambda: waits_for(database, "_schema("), "the move waits", 20)
            process.send_signal(signal.SIGKILL)
            process.wait(10)
    until(lambda: not waits_for(database, "_schema("), "the server has noticed", 20)
    killed = now(database, moved)
    assert (killed.is_suspended, killed.suspension_reason) == (True, MOVING)
    assert is_whole(database, moved, start)
    with moving_process(settings, moved, to) as process:
        told, _ = process.communicate(timeout=30)
    assert f"Moved {ROWS} rows" in told, told
    assert is_whole(database, moved, to)
    assert now(database, moved).status is TenantStatus.ACTIVE


@on_postgresql
def test_after_a_kill_the_way_back_is_open_too(database: Database, moved: Tenant) -> None:
    with tenancy.platform_context(), database.transaction() as session:
        lifecycle.suspend_tenant(session, moved.id, reason=MOVING)
    assert move_tenant(database, moved.id, Isolation.ROW) == 0
    assert now(database, moved).status is TenantStatus.ACTIVE


def write(database: Database, tenant: Tenant, done: threading.Event) -> int:
    """Count up until it is done; return how often that was committed."""
    counted = 0
    while not done.is_set():
        try:
            count_up(database, tenant)
            counted += 1
        except StaleDataError:
            continue
        except OperationalError as error:
            if not is_busy(error):
                raise
    return counted


def read(database: Database, tenant: Tenant, done: threading.Event) -> set[int]:
    """Return how many rows there ever were; a reader is not told that anything is busy."""
    found = set()
    while not done.is_set():
        with tenancy.tenant_context(tenant.id), database.session(write=False) as session:
            get_tenant(session, tenant.id)
            found.add(len(session.scalars(select(TenantModelConfig)).all()))
    return found


@on_postgresql
def test_nothing_is_lost_or_missed_while_a_tenant_moves(database: Database, moved: Tenant) -> None:
    """Two count up in the same row, and what was committed is there; a third sees all rows."""
    done = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        reader = pool.submit(read, database, moved, done)
        writers = [pool.submit(write, database, moved, done) for _ in range(2)]
        try:
            for isolation in (Isolation.SCHEMA, Isolation.ROW) * 3:
                move_tenant(database, moved.id, isolation)
                time.sleep(0.05)
        finally:
            done.set()
    counted = sum(writer.result() for writer in writers)
    assert reader.result() == {ROWS}
    assert counted > 20
    assert count(database, moved) == counted
    assert is_whole(database, moved, Isolation.ROW)


def count_up(database: Database, tenant: Tenant) -> None:
    with tenancy.tenant_context(tenant.id), database.transaction() as session:
        config = first(session)
        config.max_calls_per_day = (config.max_calls_per_day or 0) + 1


def count(database: Database, tenant: Tenant) -> int:
    with tenancy.tenant_context(tenant.id), database.session(write=False) as session:
        return first(session).max_calls_per_day or 0


def first(session: Any) -> TenantModelConfig:
    found = session.scalars(select(TenantModelConfig).order_by(TenantModelConfig.id)).first()
    assert found is not None
    return found
