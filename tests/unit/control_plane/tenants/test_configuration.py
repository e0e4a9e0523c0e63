"""A tenant's configuration through the API, on both databases."""

import json
import uuid
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.core import plugins, tenancy
from control_plane.core.auth import Role
from control_plane.core.database import Database
from control_plane.tenants import Tenant
from tests import factories
from tests.factories import ANY

LIMITS = {
    "requestsPerSecond": 5,
    "requestsPerMinute": 100,
    "requestsPerDay": 1000,
    "requestsPerMonth": 20000,
    "tokensPerMinute": 9000,
    "concurrent": 3,
}


@pytest.fixture
def url(tenant: Tenant) -> str:
    return f"/api/tenants/{tenant.id}/configuration"


def make_model(client: FlaskClient, operator: dict[str, str], name: str) -> str:
    body = {
        "name": name,
        "provider": "openai",
        "endpoint": "https://api.example.com/v1",
        "costPerCall": "0.01",
    }
    answer = client.post("/api/models", json=body, headers=operator)
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])


def published(database: Database, section: str, tenant: Tenant) -> Any:
    sections = {each.name: each for each in plugins.config_sections()}
    with tenancy.platform_context(), database.session(write=False) as session:
        return sections[section].compile(session, [str(tenant.id)])[str(tenant.id)]


def test_a_configuration_is_replaced_and_shown_in_its_tenant(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, url: str
) -> None:
    model_id = make_model(client, operator, "chat")
    sent = {
        "aiModelAccess": [model_id],
        "featureFlags": {"beta": True},
        "uiTheme": {"color": "#123456"},
        "apiCallLimits": LIMITS,
    }
    seen = factories.if_match(client, url, operator)
    changed = client.put(url, json=sent, headers=seen)
    assert changed.status_code == 200, changed.text
    assert {name: changed.json[name] for name in sent} == sent
    assert client.put(url, json=sent, headers=seen).status_code == 412
    assert client.get(url, headers=operator).json == changed.json
    shown = client.get(f"/api/tenants/{tenant.id}", headers=operator).json
    assert shown["configurations"] == changed.json
    bare = client.put(url, json={}, headers=operator | ANY).json
    assert (bare["aiModelAccess"], bare["apiCallLimits"]) == (["*"], {})


def test_a_patch_merges_nested_values(
    client: FlaskClient, operator: dict[str, str], url: str
) -> None:
    def patch(body: dict[str, Any]) -> Any:
        answer = client.patch(url, json=body, headers=operator | ANY)
        assert answer.status_code == 200, answer.text
        return answer.json

    patch({"featureFlags": {"a": True, "b": False}, "apiCallLimits": {"concurrent": 3}})
    changed = patch({"featureFlags": {"a": None, "c": True}, "apiCallLimits": LIMITS})
    assert changed["featureFlags"] == {"b": False, "c": True}
    assert changed["apiCallLimits"] == LIMITS
    changed = patch({"aiModelAccess": [], "featureFlags": None})
    assert (changed["aiModelAccess"], changed["featureFlags"]) == ([], {})
    assert patch({"aiModelAccess": None})["aiModelAccess"] == ["*"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"apiCallLimits": {"perYear": 1}}, "#/apiCallLimits/perYear"),
        ({"apiCallLimits": {"requests_per_day": 1}}, "#/apiCallLimits/requests_per_day"),
        ({"apiCallLimits": {"concurrent": 0}}, "#/apiCallLimits/concurrent"),
        ({"apiCallLimits": {"concurrent": 1.5}}, "#/apiCallLimits/concurrent"),
        ({"apiCallLimits": {"concurrent": True}}, "#/apiCallLimits/concurrent"),
        ({"apiCallLimits": {"concurrent": None}}, "#/apiCallLimits/concurrent"),
        ({"apiCallLimits": {"concurrent": 2**60}}, "#/apiCallLimits/concurrent"),
        ({"apiCallLimits": []}, "#/apiCallLimits"),
        ({"aiModelAccess": "*"}, "#/aiModelAccess"),
        ({"aiModelAccess": None}, "#/aiModelAccess"),
        ({"aiModelAccess": ["chat"]}, "#/aiModelAccess/0"),
        ({"aiModelAccess": ["*", str(uuid.uuid4())]}, "#/aiModelAccess"),
        ({"aiModelAccess": ["*", "*"]}, "#/aiModelAccess"),
        ({"aiModelAccess": [str(uuid.uuid4())]}, "#/aiModelAccess/0"),
        ({"featureFlags": {"a": "yes"}}, "#/featureFlags"),
        ({"uiTheme": {"a": 1}}, "#/uiTheme/a"),
        ({"tenantId": str(uuid.uuid4())}, "#/tenantId"),
    ],
)
def test_what_is_wrong_is_pointed_at(
    client: FlaskClient, operator: dict[str, str], url: str, body: Any, pointer: str
) -> None:
    answer = client.put(url, json=body, headers=operator | ANY)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed"), answer.text
    assert answer.json["errors"][0]["pointer"][: len(pointer)] == pointer


def test_unknown_models_are_named_one_by_one_also_for_a_new_tenant(
    client: FlaskClient, operator: dict[str, str], url: str
) -> None:
    known, unknown = make_model(client, operator, "chat"), [str(uuid.uuid4()) for _ in range(2)]
    access = [unknown[0], known, unknown[1]]
    answer = client.put(url, json={"aiModelAccess": access}, headers=operator | ANY)
    pointers = [error["pointer"] for error in answer.json["errors"]]
    assert pointers == ["#/aiModelAccess/0", "#/aiModelAccess/2"]
    new = {"name": "New", "configurations": {"aiModelAccess": access}}
    answer = client.post("/api/tenants", json=new, headers=operator)
    pointers = [error["pointer"] for error in answer.json["errors"]]
    assert pointers == ["#/configurations/aiModelAccess/0", "#/configurations/aiModelAccess/2"]
    new["configurations"] = {"aiModelAccess": [known.upper()]}
    made = client.post("/api/tenants", json=new, headers=operator)
    assert made.json["configurations"]["aiModelAccess"] == [known]


def test_a_model_that_is_gone_does_not_keep_its_tenant_from_being_configured(
    client: FlaskClient, operator: dict[str, str], url: str
) -> None:
    model_id = make_model(client, operator, "chat")
    client.put(url, json={"aiModelAccess": [model_id]}, headers=operator | ANY)
    deleted = client.delete(f"/api/models/{model_id}", headers=operator | ANY)
    assert deleted.status_code == 204
    changed = client.patch(url, json={"uiTheme": {"a": "b"}}, headers=operator | ANY)
    assert (changed.status_code, changed.json["aiModelAccess"]) == (200, [model_id])


def test_a_tenants_operator_changes_the_theme_and_reads_the_rest(
    app: Flask,
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    tenant: Tenant,
    url: str,
) -> None:
    client.put(url, json={"apiCallLimits": LIMITS}, headers=operator | ANY)
    user = factories.sign_in(app, factories.make_user(database, tenant, Role.OPERATOR))
    assert client.get(url, headers=user).json["apiCallLimits"] == LIMITS
    changed = client.patch(url, json={"uiTheme": {"color": "red"}}, headers=user | ANY)
    assert (changed.status_code, changed.json["uiTheme"]) == (200, {"color": "red"})
    for name, value in (
        ("aiModelAccess", []),
        ("featureFlags", {"beta": True}),
        ("apiCallLimits", {"concurrent": 99}),
        ("apiCallLimits", None),
    ):
        refused = client.patch(url, json={name: value}, headers=user | ANY)
        assert (refused.status_code, refused.json["code"]) == (403, "permission_denied"), name
        assert name in refused.json["detail"]
    assert client.put(url, json={"uiTheme": {}}, headers=user | ANY).status_code == 403
    whole = {"apiCallLimits": LIMITS, "uiTheme": {"color": "blue"}}
    assert client.put(url, json=whole, headers=user | ANY).status_code == 200
    viewer = factories.sign_in(app, factories.make_user(database, tenant, Role.VIEWER))
    assert client.patch(url, json={"uiTheme": {}}, headers=viewer | ANY).status_code == 403
    other = factories.make_tenant(database)
    assert client.get(url.replace(str(tenant.id), str(other.id)), headers=user).status_code == 404


def test_access_decides_which_configured_models_are_published_and_shown(
    app: Flask,
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    tenant: Tenant,
    url: str,
) -> None:
    ids = {name: make_model(client, operator, name) for name in ("chat", "embed", "other")}
    for name in ("chat", "embed"):
        body = {"modelId": ids[name]}
        client.post(f"/api/tenants/{tenant.id}/models", json=body, headers=operator)
    user = factories.sign_in(app, factories.make_user(database, tenant))

    def after(access: list[str]) -> tuple[set[str], set[str], dict[str, bool]]:
        changed = client.patch(url, json={"aiModelAccess": access}, headers=operator | ANY)
        assert changed.status_code == 200, changed.text
        listed = client.get("/api/models", headers=user).json
        configured = client.get(f"/api/tenants/{tenant.id}/models", headers=user).json
        return (
            set(published(database, "tenants", tenant)["models"]),
            {each["name"] for each in listed},
            {each["name"]: each["isCallable"] for each in configured},
        )

    both = {"chat", "embed"}
    assert after(["*"]) == (both, both, {"chat": True, "embed": True})
    assert after([]) == (set(), set(), {"chat": False, "embed": False})
    some = [ids["chat"], ids["other"]]
    assert after(some) == ({"chat"}, {"chat"}, {"chat": True, "embed": False})
    for name, status in (("chat", 200), ("embed", 404), ("other", 404)):
        assert client.get(f"/api/models/{ids[name]}", headers=user).status_code == status
    everything = {each.name: each for each in plugins.config_sections()}["tenants"]
    with tenancy.platform_context(), database.session(write=False) as session:
        compiled = everything.compile(session, None)[str(tenant.id)]
    assert compiled is not None
    assert set(compiled["models"]) == {"chat"}


def test_flags_and_theme_are_published_while_there_are_any(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant, url: str
) -> None:
    assert published(database, "profiles", tenant) is None
    body = {"featureFlags": {"beta": True}, "uiTheme": {"color": "red"}}
    client.put(url, json=body, headers=operator | ANY)
    assert published(database, "profiles", tenant) == body
    client.put(url, json={"apiCallLimits": LIMITS}, headers=operator | ANY)
    assert published(database, "profiles", tenant) is None
    sections = {each.name: each for each in plugins.config_sections()}
    payload = json.loads(json.dumps({"tenant_id": str(tenant.id)}))
    for section in ("tenants", "profiles"):
        assert sections[section].dirty["tenants.configured"](payload) == [str(tenant.id)]
