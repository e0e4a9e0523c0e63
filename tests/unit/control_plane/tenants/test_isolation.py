"""The field `isolation`: who may have a schema, and that nothing else is different for him."""

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import inspect, text

from control_plane import tenants
from control_plane.ai_models import documents
from control_plane.app import create_app
from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.core.plugins import JobContext
from control_plane.core.settings import Settings
from control_plane.tenants import Tenant
from control_plane.tenants.commands import tenant as tenant_command
from control_plane.tenants.manifest import TENANTS
from control_plane.tenants.models import Isolation
from control_plane.tenants.service import moving
from tests import factories
from tests.factories import ANY

SCHEMA = {"name": "Acme", "isolation": "schema"}
SCHEMAS = text("SELECT nspname FROM pg_namespace WHERE nspname LIKE 't\\_%'")
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def schemas(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        return list(connection.scalars(SCHEMAS))


@pytest.fixture
def housed(database: Database) -> Tenant:
    """A tenant with a schema, who may call one model."""
    tenant = factories.make_tenant(database, isolation=Isolation.SCHEMA)
    factories.make_tenant_models(database, [tenant.id])
    return tenant


@on_postgresql
def test_a_tenant_is_created_with_a_schema_and_used_at_once(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    made = client.post("/api/tenants", json=SCHEMA, headers=operator).json
    assert made["isolation"] == "schema"
    assert schemas(database) == [f"t_{made['id'].replace('-', '')}"]
    model = {"name": "chat", "provider": "openai", "costPerCall": "1"}
    model = {**model, "endpoint": "https://203.0.114.9/v1"}
    model_url = "/api/models/" + client.post("/api/models", json=model, headers=operator).json["id"]
    configured = {"modelId": model_url.split("/")[-1]}
    url = f"/api/tenants/{made['id']}/models"
    config = client.post(url, json=configured, headers=operator).json
    assert client.get(f"{url}/{config['id']}", headers=operator).json == config
    again = client.post(url, json=configured, headers=operator)
    assert (again.status_code, again.json["code"]) == (409, "tenant_model_exists")
    used = client.delete(model_url, headers={**operator, **ANY})
    assert (used.status_code, used.json["code"]) == (409, "model_in_use")


@on_postgresql
def test_several_are_created_at_once(app: Flask, operator: dict[str, str]) -> None:
    def create(_: int) -> int:
        return app.test_client().post("/api/tenants", json=SCHEMA, headers=operator).status_code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(create, range(8))) == {201}


@on_postgresql
def test_a_schema_that_cannot_be_made_now_is_asked_for_again(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    with tenancy.platform_context(), database.engine.connect() as reader:
        reader.execute(text("SELECT FROM tenant_model_configs"))
        answer = client.post("/api/tenants", json=SCHEMA, headers=operator)
        assert (answer.status_code, answer.json["detail"]) == (503, "The database is busy.")
        assert "Retry-After" in answer.headers
        assert schemas(database) == []
    assert client.post("/api/tenants", json=SCHEMA, headers=operator).status_code == 201


@on_postgresql
def test_only_a_move_changes_it(
    client: FlaskClient, operator: dict[str, str], housed: Tenant
) -> None:
    url = f"/api/tenants/{housed.id}"
    shown = client.get(url, headers=operator).json
    assert shown["isolation"] == "schema"
    for method, body in (("put", {"name": "x"}), ("patch", {})):
        call = getattr(client, method)
        answer = call(url, json={**body, "isolation": "row"}, headers={**operator, **ANY})
        assert answer.status_code == 422
        assert answer.json["errors"][0]["pointer"] == "#/isolation"
    changed = client.put(url, json={"name": "x"}, headers={**operator, **ANY})
    assert changed.json["isolation"] == "schema"


@pytest.mark.parametrize("isolation", ["database", 1, None])
def test_an_unknown_isolation_is_refused(
    client: FlaskClient, operator: dict[str, str], isolation: Any
) -> None:
    body = {"name": "x", "isolation": isolation}
    answer = client.post("/api/tenants", json=body, headers=operator)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "#/isolation"


@on_sqlite
def test_sqlite_refuses_a_schema(
    client: FlaskClient, operator: dict[str, str], settings: Settings, tenant: Tenant
) -> None:
    answer = client.post("/api/tenants", json=SCHEMA, headers=operator)
    assert answer.status_code == 422
    [error] = answer.json["errors"]
    assert error["pointer"] == "#/isolation"
    assert "SQLite" in error["detail"]
    told = run(settings, str(tenant.id), "--to", "schema")
    assert told.exit_code == 1
    assert error["detail"] in told.output


@on_postgresql
def test_the_command_moves_and_says_so(
    settings: Settings, database: Database, housed: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "already" in run(settings, str(housed.id), "--to", "schema").output
    with tenancy.platform_context(), database.engine.connect() as reader:
        reader.execute(text("SELECT FROM tenant_model_configs"))
        monkeypatch.setattr(moving, "_PATIENCE_SECONDS", 0.1)
        told = run(settings, str(housed.id), "--to", "row")
        assert (told.exit_code, "Nothing was moved" in told.output) == (1, True), told.output
    assert "Moved 1 rows" in run(settings, str(housed.id), "--to", "row").output


def run(settings: Settings, *arguments: str) -> Any:
    environ = {"YUMEN_STATE": str(settings.state)}
    if settings.database.url is not None:
        environ["YUMEN_DATABASE_URL"] = settings.database.url
    return CliRunner().invoke(tenant_command, ["move", *arguments], env=environ)


@pytest.fixture
def with_one_schema(settings: Settings) -> Iterator[Flask]:
    """The application, which makes one schema at most."""
    one = dataclasses.replace(settings.database, tenant_schemas=1)
    app = create_app(dataclasses.replace(settings, database=one))
    yield app
    app.extensions["yumen_database"].close()


@on_postgresql
def test_there_are_no_more_schemas_than_allowed(with_one_schema: Flask) -> None:
    database: Database = with_one_schema.extensions["yumen_database"]
    operator = factories.sign_in(with_one_schema, factories.make_user(database))
    client = with_one_schema.test_client()
    answers = [client.post("/api/tenants", json=SCHEMA, headers=operator) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 409]
    assert answers[1].json["code"] == "no_schema_left"
    assert len(schemas(database)) == 1
    assert len(client.get("/api/tenants", headers=operator).json) == 1


@on_postgresql
def test_a_purge_drops_the_schema(database: Database, housed: Tenant) -> None:
    other = factories.make_tenant(database, isolation=Isolation.SCHEMA)
    assert len(schemas(database)) == 2
    factories.purge_tenant(database, housed)
    assert schemas(database) == [f"t_{other.id.hex}"]


@on_postgresql
def test_the_worker_drops_what_was_left(
    database: Database, settings: Settings, housed: Tenant
) -> None:
    moving.move_tenant(database, housed.id, Isolation.ROW)
    context = JobContext(settings=settings, database=database, redis=None)  # type: ignore[arg-type]

    def left() -> list[str]:
        with database.engine.connect() as connection:
            return [n for n in inspect(connection).get_schema_names() if n.startswith("left_")]

    with tenancy.platform_context(), database.engine.connect() as reader:
        reader.execute(text("SELECT FROM tenants"))
        moving.run_drop_left(context)
        assert len(left()) == 1
    moving.move_tenant(database, housed.id, Isolation.SCHEMA)
    moving.run_drop_left(context)
    assert left() == []
    assert schemas(database) == [f"t_{housed.id.hex}"]


@on_postgresql
def test_what_is_published_is_the_same_in_either_place(database: Database, housed: Tenant) -> None:
    other = factories.make_tenant(database)
    factories.make_tenant_models(database, [housed.id, other.id])
    with tenancy.platform_context(), database.session(write=False) as session:
        found = documents.compile_tenant_models(session, None)
        one = documents.compile_tenant_models(session, [str(housed.id)])
    assert {key: len(each["models"]) for key, each in found.items()} == {
        str(housed.id): 2,
        str(other.id): 1,
    }
    assert one == {str(housed.id): found[str(housed.id)]}


@on_postgresql
def test_a_manifest_makes_a_schema_and_moves_nobody(database: Database) -> None:
    given = {"name": "Acme", "timeZone": "UTC"}
    with tenancy.platform_context(), database.transaction() as session:
        tenant = TENANTS.create(session, None, TENANTS.schema().load(SCHEMA | given))
        assert TENANTS.schema().dump(tenant)["isolation"] == "schema"
        TENANTS.update(session, tenant, TENANTS.schema().load(given))
        assert tenants.get_tenant(session, tenant.id).isolation is Isolation.SCHEMA
        moved = TENANTS.schema().load({**given, "isolation": "row"})
        with pytest.raises(Exception, match="not valid") as caught:
            TENANTS.update(session, tenant, moved)
    assert "yumen tenant move" in caught.value.errors[0]["detail"]  # type: ignore[attr-defined]
    assert len(schemas(database)) == 1
