"""No route shows or changes what is another tenant's; made from the list of routes.

Each operation of the API is tried by the administrator of one tenant with the ids of another one,
and must answer as it does to ids that do not exist.
"""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import inspect, select
from werkzeug.routing import Rule

from control_plane.app import create_app
from control_plane.core import tenancy
from control_plane.core.database import Base, Database
from control_plane.core.tenancy import TenantFiltered
from tests import factories

NOT_OF_A_TENANT = {"model_id", "revision"}
"""Path parameters that name what belongs to the platform."""


class World:
    """Two tenants; of the second one, an id for each path parameter that names a tenant's thing."""

    def __init__(self, app: Flask, operator: Mapping[str, str]) -> None:
        self.app = app
        self.client = app.test_client()
        self.database: Database = app.extensions["yumen_database"]
        mine, self.theirs = (factories.make_tenant(self.database) for _ in range(2))
        self.me = factories.sign_in(app, factories.make_user(self.database, mine))
        self.my_tenant_id = mine.id
        self.their_ids = {
            "tenant_id": self.theirs.id,
            "user_id": factories.make_user(self.database, self.theirs).id,
            "key_id": self._make("api-keys", operator, name="key"),
            "domain_id": self._make("domains", operator, domainName="theirs.example.com"),
            "config_id": self._make("models", operator, modelId=self._make_model(operator)),
        }

    def _make(self, kind: str, operator: Mapping[str, str], **body: Any) -> uuid.UUID:
        url = f"/api/tenants/{self.theirs.id}/{kind}"
        answer = self.client.post(url, json=body, headers=operator)
        assert answer.status_code == 201, answer.text
        return uuid.UUID(answer.json["id"])

    def _make_model(self, operator: Mapping[str, str]) -> str:
        body = {
            "name": "chat",
            "provider": "openai",
            "endpoint": "https://api.example.com/v1",
            "costPerCall": "0.01",
        }
        answer = self.client.post("/api/models", json=body, headers=operator)
        assert answer.status_code == 201, answer.text
        return str(answer.json["id"])

    def snapshot(self) -> dict[str, list[Any]]:
        """Return all rows of the other tenant."""
        found: dict[str, list[Any]] = {}
        with tenancy.tenant_context(self.theirs.id), self.database.session(write=False) as session:
            for mapper in Base.registry.mappers:
                if issubclass(mapper.class_, TenantFiltered):
                    columns = inspect(mapper.class_).column_attrs.keys()
                    found[mapper.class_.__name__] = [
                        {name: getattr(row, name) for name in columns}
                        for row in session.scalars(select(mapper.class_))
                    ]
        return found


@pytest.fixture
def world(app: Flask, operator: dict[str, str]) -> World:
    return World(app, operator)


def operations(app: Flask) -> Iterator[tuple[str, Rule]]:
    """Yield the method and the rule of each operation whose path names something of a tenant."""
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/api/") and rule.arguments - NOT_OF_A_TENANT - {"filename"}:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield method, rule


def _answer(world: World, method: str, rule: Rule, ids: Mapping[str, Any]) -> tuple[int, Any]:
    adapter = world.app.url_map.bind("localhost")
    url = adapter.build(rule.endpoint, {name: ids[name] for name in rule.arguments}, method=method)
    answer = world.client.open(url, method=method, json={}, headers=world.me)
    body = answer.get_json(silent=True)
    return answer.status_code, {**(body or {}), "requestId": None} if body else answer.data


def test_their_ids_are_answered_like_ids_that_do_not_exist(world: World) -> None:
    before = world.snapshot()
    assert all(before[name] for name in ("Tenant", "User", "APIKey", "Domain", "TenantModelConfig"))
    tried = 0
    for method, rule in operations(world.app):
        unknown = dict.fromkeys(rule.arguments, uuid.uuid4())
        theirs = {**unknown, **{n: i for n, i in world.their_ids.items() if n in rule.arguments}}
        status, body = _answer(world, method, rule, theirs)
        if (status, body) != _answer(world, method, rule, unknown) or status != 404:
            pytest.fail(f"{method} {rule.rule} with their ids: {status} {body}")
        if "tenant_id" in rule.arguments and len(rule.arguments) > 1:
            mixed = {**theirs, "tenant_id": world.my_tenant_id}
            none = {**unknown, "tenant_id": world.my_tenant_id}
            assert _answer(world, method, rule, mixed) == _answer(world, method, rule, none)
            assert _answer(world, method, rule, mixed)[0] in {403, 404, 422}, rule.rule
        tried += 1
    assert tried >= 20
    assert world.snapshot() == before


def test_every_path_parameter_is_tried(world: World) -> None:
    named = {name for _, rule in operations(world.app) for name in rule.arguments}
    assert named - NOT_OF_A_TENANT <= set(world.their_ids)


def test_lists_hold_nothing_of_another_tenant(world: World) -> None:
    theirs = {str(each) for each in world.their_ids.values()}
    seen = 0
    for rule in world.app.url_map.iter_rules():
        if not rule.rule.startswith("/api/") or "GET" not in (rule.methods or ()):
            continue
        if rule.arguments - {"tenant_id"}:
            continue
        ids = dict.fromkeys(rule.arguments, world.my_tenant_id)
        url = world.app.url_map.bind("localhost").build(rule.endpoint, ids)
        answer = world.client.get(url, headers=world.me)
        assert not [each for each in theirs if each in answer.text], url
        seen += answer.status_code == 200
    assert seen >= 6


def test_a_body_cannot_name_another_tenant(client: FlaskClient, world: World) -> None:
    for tenant_id in (world.theirs.id, uuid.uuid4()):
        body = {
            "username": f"intruder-{tenant_id.hex[:8]}",
            "password": factories.PASSWORD,
            "role": "admin",
            "tenantId": str(tenant_id),
        }
        answer = client.post("/api/users", json=body, headers=world.me)
        assert (answer.status_code, answer.json["code"]) == (404, "tenant_not_found")
        listed = client.get(f"/api/users?tenantId={tenant_id}", headers=world.me)
        assert (listed.status_code, listed.json["code"]) == (404, "tenant_not_found")


def test_a_tenants_user_has_no_right_of_the_platform(client: FlaskClient, world: World) -> None:
    for method, url in (
        ("post", "/api/tenants"),
        ("delete", f"/api/tenants/{world.my_tenant_id}"),
        ("post", f"/api/tenants/{world.my_tenant_id}/activate"),
        ("post", "/api/models"),
        ("get", "/api/gateway/nodes"),
    ):
        answer = getattr(client, method)(url, headers=world.me)
        assert (answer.status_code, answer.json["code"]) == (403, "permission_denied"), url


@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
def test_the_matrix_would_notice_a_missing_filter(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the tenant's filter off, the same matrix must turn red; PostgreSQL has a second wall."""
    monkeypatch.setattr(tenancy, "filter_statement", lambda _state: None)
    app = create_app(settings)
    database: Database = app.extensions["yumen_database"]
    operator = factories.sign_in(app, factories.make_user(database))
    world = World(app, operator)
    with pytest.raises(pytest.fail.Exception, match="users"):
        test_their_ids_are_answered_like_ids_that_do_not_exist(world)
    database.close()
