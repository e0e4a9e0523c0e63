"""Each wall between tenants is taken away, one at a time, and the isolation tests must notice."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, select, text

from control_plane.core import plugins, tenancy
from control_plane.core.database import Database
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantFiltered
from control_plane.tenants.models import Isolation
from tests import factories
from tests.isolation import test_catalogue
from tests.isolation.world import World

plugins.manager()
CLASSES = sorted(
    (m.class_ for m in Base.registry.mappers if issubclass(m.class_, TenantFiltered)),
    key=lambda each: each.__name__,
)
FILLED = {"Tenant", "TenantConfiguration", "User", "APIKey", "Domain", "TenantModelConfig"}
"""What `World` makes of the other tenant through the API."""


def foreign(world: World, entity: type[TenantFiltered]) -> int:
    """Return how many rows of another tenant a statement of the ORM shows to mine."""
    with tenancy.tenant_context(world.mine.id), world.database.session(write=False) as session:
        rows = session.scalars(select(entity)).unique()
        return sum(row.tenant_id != world.mine.id for row in rows)


@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
def test_each_class_is_kept_apart_by_its_own_filter(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {each.__name__: foreign(world, each) for each in CLASSES} == dict.fromkeys(
        (each.__name__ for each in CLASSES), 0
    )
    kept = tenancy._mapped
    noticed = set()
    for mutated in CLASSES:
        with monkeypatch.context() as patch:
            others = [each for each in kept(TenantFiltered) if each is not mutated]
            patch.setattr(tenancy, "_mapped", lambda _base, others=others: iter(others))
            if foreign(world, mutated):
                noticed.add(mutated.__name__)
    assert noticed >= FILLED


def raw(world: World, table: str, column: str) -> int:
    """Return how many rows of another tenant raw SQL shows to mine."""
    with tenancy.tenant_context(world.mine.id), world.database.engine.connect() as connection:
        question = text(f"SELECT count(*) FROM {table} WHERE {column} <> :mine")
        return int(connection.scalar(question, {"mine": world.mine.id}) or 0)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("isolations", [(Isolation.ROW,) * 2, (Isolation.SCHEMA,) * 2])
def test_each_table_is_kept_apart_by_its_own_policy(world: World) -> None:
    noticed = set()
    for entity in CLASSES:
        table = inspect(entity).local_table.name
        column = "id" if table == "tenants" else "tenant_id"
        assert raw(world, table, column) == 0, table
        _alter(world.database, f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        if raw(world, table, column):
            noticed.add(entity.__name__)
        _alter(world.database, f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    assert noticed >= FILLED


def _alter(database: Database, statement: str) -> None:
    with database.owner_transaction() as owner:
        owner.execute(text(statement))


class UndoneError(Exception):
    """Ends the transaction of a mutation."""


def mutants(owner: Connection) -> Iterator[tuple[str, str]]:
    """Yield the table and the statement of every way to weaken a policy."""
    for table in test_catalogue.family(owner):
        yield table, f"DROP POLICY yumen_tenant ON {table}"
        yield table, f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"
        yield table, f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_catalogue_notices_every_weakened_policy(database: Database) -> None:
    factories.make_tenant(database, isolation=Isolation.SCHEMA)
    with database.owner_transaction() as owner:
        found = list(mutants(owner))
    for table, statement in found:
        with contextlib.suppress(UndoneError), database.owner_transaction() as owner:
            owner.execute(text(statement))
            unprotected = test_catalogue.ask(
                owner, test_catalogue.UNPROTECTED, test_catalogue.family(owner)
            )
            raise UndoneError
        assert unprotected == {table}, statement
    assert len(found) >= 30


@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
def test_the_check_of_the_path_is_noticed_when_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it a tenant's user would act in the scope of the tenant whom the path names."""
    from control_plane.core import api  # noqa: PLC0415
    from tests.isolation.test_other_tenants import try_paths  # noqa: PLC0415

    def trusting(actor: Any, path_tenant_id: Any) -> Any:
        tenant_id = path_tenant_id or actor.tenant_id
        return tenancy.tenant_context(tenant_id)

    monkeypatch.setattr(api, "_scope_of", trusting)
    with pytest.raises(pytest.fail.Exception) as caught:
        try_paths(world)
    assert re.search(r"/api/tenants/\{tenant_id\}", str(caught.value))
