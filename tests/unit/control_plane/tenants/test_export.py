"""A tenant's export: all of its own, nothing of another's, no secret; on both databases."""

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.core import tenancy
from control_plane.core.auth import Role
from control_plane.core.database import Database
from control_plane.core.tenancy import TenancyError
from control_plane.tenants import Tenant
from control_plane.tenants.service import export
from control_plane.usage import service as usage_service
from tests import factories
from tests.journal_writer import begin, end
from tests.usage_events import store

SECRET = "sk-upstream-secret"


@pytest.fixture
def key(client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant) -> str:
    """Something of the tenant in each room, and its API key."""
    factories.make_user(database, tenant)
    model = {
        "name": "chat",
        "provider": "openai",
        "endpoint": "https://api.example.com/v1",
        "apiKey": SECRET,
        "costPerCall": "0.01",
    }
    model_id = client.post("/api/models", json=model, headers=operator).json["id"]
    url = f"/api/tenants/{tenant.id}"
    client.post(f"{url}/models", json={"modelId": model_id}, headers=operator)
    client.post(f"{url}/domains", json={"domainName": "mine.example.com"}, headers=operator)
    begun = [begin(number, tenant=tenant.id) for number in range(1, 6)]
    store(database, [*begun, *map(end, begun)])
    made = client.post(f"{url}/api-keys", json={"name": "mine"}, headers=operator)
    return str(made.json["key"])


def exported(client: FlaskClient, headers: dict[str, str], tenant: Tenant) -> list[Any]:
    answer = client.get(f"/api/tenants/{tenant.id}/export", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "application/jsonl"
    assert str(tenant.id) in answer.headers["Content-Disposition"]
    return [json.loads(line) for line in answer.text.splitlines()]


def test_an_export_holds_all_that_the_rooms_show(
    client: FlaskClient,
    operator: dict[str, str],
    tenant: Tenant,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(usage_service, "_EXPORTED_AT_ONCE", 2)
    *lines, last = exported(client, operator, tenant)
    assert last == {"kind": "end", "count": len(lines)}
    url = f"/api/tenants/{tenant.id}"
    shown = client.get(url, headers=operator).json
    del shown["domains"]
    assert lines[0] == {"kind": "tenant", **shown}
    for kind, path in (
        ("user", f"/api/users?tenantId={tenant.id}"),
        ("apiKey", f"{url}/api-keys"),
        ("domain", f"{url}/domains"),
        ("model", f"{url}/models"),
        ("usageEvent", f"{url}/usage/events?from=2026-01-01&to=2027-01-01"),
    ):
        listed = client.get(path, headers=operator).json
        assert listed, kind
        assert [{"kind": kind, **each} for each in listed] == [
            line for line in lines if line["kind"] == kind
        ]


def test_an_export_holds_no_secret_and_nothing_of_another(
    client: FlaskClient, operator: dict[str, str], database: Database, tenant: Tenant, key: str
) -> None:
    other = factories.make_tenant(database)
    text = json.dumps(exported(client, operator, tenant))
    secrets = (key, key[-49:], SECRET, "argon2", "digest", str(other.id))
    assert [each for each in secrets if each in text] == []
    kinds = [line["kind"] for line in exported(client, operator, other)]
    assert [kind for kind in kinds if kind != "auditLog"] == ["tenant", "end"]


def test_an_export_is_for_administrators_also_of_the_tenant(
    app: Flask, client: FlaskClient, database: Database, tenant: Tenant
) -> None:
    url = f"/api/tenants/{tenant.id}/export"
    admin, lesser = (
        factories.sign_in(app, factories.make_user(database, tenant, role))
        for role in (Role.ADMIN, Role.OPERATOR)
    )
    assert client.get(url, headers=admin).status_code == 200
    assert client.get(url, headers=lesser).status_code == 403
    stranger = factories.sign_in(
        app, factories.make_user(database, factories.make_tenant(database))
    )
    assert client.get(url, headers=stranger).status_code == 404


def test_nothing_is_held_while_the_reader_is_slow(
    database: Database, tenant: Tenant, key: str
) -> None:
    batches = export.export_tenant(database, tenant.id)
    assert next(batches)[0]["kind"] == "tenant"
    with pytest.raises(TenancyError):
        tenancy.current_tenant_id()
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert list(batches)[-1][0]["kind"] == "end"
