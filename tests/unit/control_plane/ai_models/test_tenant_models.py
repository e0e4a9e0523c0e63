"""A tenant's models through the API, on both databases."""

import uuid
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.ai_models import documents
from control_plane.ai_models.events import ModelRenamed
from control_plane.core import outbox, tenancy
from control_plane.core.database import Database
from control_plane.tenants import Tenant
from tests import factories
from tests.factories import ANY


@pytest.fixture
def model(client: FlaskClient, operator: dict[str, str]) -> dict[str, Any]:
    sent = {
        "name": "chat",
        "provider": "openai",
        "endpoint": "http://127.0.0.1:9000/v1",
        "costPerCall": "0.01",
    }
    return dict(client.post("/api/models", json=sent, headers=operator).json)


def _models(database: Database, tenant: Tenant) -> Any:
    with tenancy.platform_context(), database.session(write=False) as session:
        found = documents.compile_tenant_models(session, [str(tenant.id)])
    return found.get(str(tenant.id), {}).get("models")


def test_a_model_is_configured_shown_changed_and_taken_away(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    tenant: Tenant,
    model: dict[str, Any],
) -> None:
    url = f"/api/tenants/{tenant.id}/models"
    sent = {
        "modelId": model["id"],
        "maxCallsPerDay": 100,
        "customParameters": {"temperature": 0.5},
        "costMultiplier": "1.50",
    }
    created = client.post(url, json=sent, headers=operator)
    assert created.status_code == 201
    assert created.json.items() >= (sent | {"costMultiplier": "1.5", "name": "chat"}).items()
    assert _models(database, tenant) == {
        "chat": {
            "model": model["id"],
            "parameters": {"temperature": "0.5"},
            "costMultiplier": "1.5",
            "maxCallsPerDay": 100,
        }
    }
    assert client.get(url, headers=operator).json == [created.json]
    one = f"{url}/{created.json['id']}"
    assert client.get(one, headers=operator).json == created.json
    changed = client.put(one, json={"costMultiplier": "2"}, headers=operator | ANY).json
    assert (changed["costMultiplier"], changed["maxCallsPerDay"]) == ("2", None)
    assert changed["customParameters"] == {}
    again = client.post(url, json=sent, headers=operator)
    assert (again.status_code, again.json["code"]) == (409, "tenant_model_exists")
    assert client.delete(one, headers=operator | ANY).status_code == 204
    assert _models(database, tenant) is None
    assert client.get(one, headers=operator).json["code"] == "tenant_model_not_found"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"costMultiplier": 1.5}, "#/costMultiplier"),
        ({"costMultiplier": 1}, "#/costMultiplier"),
        ({"costMultiplier": "1000001"}, "#/costMultiplier"),
        ({"maxCallsPerDay": -1}, "#/maxCallsPerDay"),
        ({"maxCallsPerDay": 1.0}, "#/maxCallsPerDay"),
        ({"maxCallsPerDay": "1"}, "#/maxCallsPerDay"),
        ({"maxCallsPerDay": 2**60}, "#/maxCallsPerDay"),
        ({"customParameters": {"STREAM": True}}, "#/customParameters/STREAM"),
        ({"customParameters": "x"}, "#/customParameters"),
        ({"modelId": str(uuid.uuid4())}, "#/modelId"),
        ({"modelId": "chat"}, "#/modelId"),
    ],
)
def test_what_is_wrong_is_refused_naming_the_field(
    client: FlaskClient,
    operator: dict[str, str],
    tenant: Tenant,
    model: dict[str, Any],
    fields: dict[str, Any],
    pointer: str,
) -> None:
    sent = {"modelId": model["id"]} | fields
    answer = client.post(f"/api/tenants/{tenant.id}/models", json=sent, headers=operator)
    assert answer.status_code == 422, answer.json
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


def test_a_tenant_sees_its_configurations_and_changes_none(
    app: Flask,
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    tenant: Tenant,
    model: dict[str, Any],
) -> None:
    admin = factories.sign_in(app, factories.make_user(database, tenant))
    url = f"/api/tenants/{tenant.id}/models"
    created = client.post(url, json={"modelId": model["id"]}, headers=operator).json
    assert client.get(url, headers=admin).json == [created]
    assert "endpoint" not in created
    assert client.post(url, json={"modelId": model["id"]}, headers=admin).status_code == 403
    assert client.put(f"{url}/{created['id']}", json={}, headers=admin | ANY).status_code == 403
    assert client.delete(f"{url}/{created['id']}", headers=admin | ANY).status_code == 403
    other = factories.make_tenant(database)
    assert client.get(f"/api/tenants/{other.id}/models", headers=admin).status_code == 404


def test_a_model_in_use_is_not_deleted(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, model: dict[str, Any]
) -> None:
    url = f"/api/tenants/{tenant.id}/models"
    created = client.post(url, json={"modelId": model["id"]}, headers=operator).json
    refused = client.delete(f"/api/models/{model['id']}", headers=operator | ANY)
    assert (refused.status_code, refused.json["code"]) == (409, "model_in_use")
    client.delete(f"{url}/{created['id']}", headers=operator | ANY)
    assert client.delete(f"/api/models/{model['id']}", headers=operator | ANY).status_code == 204


def test_renaming_a_model_makes_its_tenants_documents_stale(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    tenant: Tenant,
    model: dict[str, Any],
) -> None:
    sent = {"modelId": model["id"]}
    client.post(f"/api/tenants/{tenant.id}/models", json=sent, headers=operator)
    changed = {key: model[key] for key in ("provider", "endpoint", "costPerCall")}
    client.put(
        f"/api/models/{model['id']}",
        json=changed | {"name": "talk"},
        headers=operator | ANY,
    )
    with database.session(write=False) as session:
        renamed = [row for row in outbox.pending(session, 100) if row.name == ModelRenamed.name]
    stale = documents.TENANTS_PART.dirty[ModelRenamed.name](renamed[0].payload)
    assert list(stale) == [str(tenant.id)]
    assert list(_models(database, tenant)) == ["talk"]


def test_purging_a_tenant_deletes_its_configurations(
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    tenant: Tenant,
    model: dict[str, Any],
) -> None:
    sent = {"modelId": model["id"]}
    client.post(f"/api/tenants/{tenant.id}/models", json=sent, headers=operator)
    factories.purge_tenant(database, tenant)
    assert _models(database, tenant) is None
    assert client.delete(f"/api/models/{model['id']}", headers=operator | ANY).status_code == 204
