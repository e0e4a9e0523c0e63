"""Service clients as they are kept: who may make which, and what becomes of them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.core.auth import Role
from control_plane.core.database import Database
from control_plane.tenants import Tenant
from tests import factories
from tests.factories import ANY

CLIENTS = "/api/service-clients"
BODY = {"name": "nightly", "role": "operator"}


def test_a_tenants_administrator_makes_clients_of_his_own_tenant(
    client: FlaskClient, tenant_admin: Mapping[str, str], tenant: Tenant, database: Database
) -> None:
    made = client.post(CLIENTS, json=BODY, headers=tenant_admin)
    assert made.status_code == 201
    assert made.json["tenantId"] == str(tenant.id)
    assert made.headers["Location"] == f"{CLIENTS}/{made.json['id']}"
    listed = client.get(f"{CLIENTS}?sort=-name", headers=tenant_admin).json
    assert [each["id"] for each in listed] == [made.json["id"]]
    other = factories.make_tenant(database)
    theirs = {**BODY, "tenantId": str(other.id)}
    assert client.post(CLIENTS, json=theirs, headers=tenant_admin).status_code == 404


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"name": ""}, "#/name"),
        ({"role": "nobody"}, "#/role"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "#/expiresAt"),
        ({"isActive": "yes"}, "#/isActive"),
        ({"secret": "chosen"}, "#/secret"),
    ],
)
def test_bad_input_is_named(
    client: FlaskClient, operator: Mapping[str, str], changed: dict[str, Any], pointer: str
) -> None:
    answer = client.post(CLIENTS, json={**BODY, **changed}, headers=operator)
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json["errors"]] == [pointer]


def test_nobody_gives_a_client_what_he_does_not_have(
    client: FlaskClient, app: Flask, operator: Mapping[str, str], database: Database
) -> None:
    role = {"name": "clerk", "permissions": ["service-clients:read", "service-clients:write"]}
    assert client.post("/api/roles", json=role, headers=operator).status_code == 201
    clerk = factories.sign_in(app, factories.make_user(database, role="clerk"))
    strong = client.post(CLIENTS, json=BODY, headers=operator).json
    refused = client.post(CLIENTS, json=BODY, headers=clerk)
    assert (refused.status_code, refused.json["code"]) == (403, "permissions_not_held")
    url, headers = f"{CLIENTS}/{strong['id']}", {**clerk, **ANY}
    for answer in (
        client.patch(url, json={"name": "mine"}, headers=headers),
        client.delete(url, headers=headers),
        client.post(f"{url}/rotate", json={}, headers=headers),
    ):
        assert (answer.status_code, answer.json["code"]) == (403, "permissions_not_held")
    own = client.post(CLIENTS, json={**BODY, "role": "clerk"}, headers=clerk)
    assert own.status_code == 201


def test_a_role_of_a_client_is_not_deleted(
    client: FlaskClient, operator: Mapping[str, str], tenant: Tenant
) -> None:
    of_tenant = {"tenantId": str(tenant.id)}
    role = {"name": "reader", "permissions": ["usage:read"], **of_tenant}
    made = client.post("/api/roles", json=role, headers=operator).json
    body = {"name": "x", "role": "reader", **of_tenant}
    assert client.post(CLIENTS, json=body, headers=operator).json["role"] == "reader"
    refused = client.delete(f"/api/roles/{made['id']}", headers={**operator, **ANY})
    assert (refused.status_code, refused.json["code"]) == (409, "role_in_use")


def test_a_change_needs_what_was_seen(client: FlaskClient, operator: Mapping[str, str]) -> None:
    made = client.post(CLIENTS, json=BODY, headers=operator)
    url, seen = f"{CLIENTS}/{made.json['id']}", made.headers["ETag"]
    body = {"name": "other", "role": "viewer"}
    changed = client.put(url, json=body, headers={**operator, "If-Match": seen})
    assert (changed.status_code, changed.json["role"]) == (200, "viewer")
    again = client.put(url, json=body, headers={**operator, "If-Match": seen})
    assert again.status_code == 412
    assert client.put(url, json=body, headers=operator).status_code == 428


def test_a_tenants_clients_are_exported_and_go_with_it(
    client: FlaskClient, operator: Mapping[str, str], tenant: Tenant, database: Database
) -> None:
    role = {"name": "reader", "permissions": ["usage:read"], "tenantId": str(tenant.id)}
    client.post("/api/roles", json=role, headers=operator)
    body = {"name": "x", "role": "reader", "tenantId": str(tenant.id)}
    made = client.post(CLIENTS, json=body, headers=operator).json
    text = client.get(f"/api/tenants/{tenant.id}/export", headers=operator).text
    kinds = [json.loads(line)["kind"] for line in text.splitlines()]
    assert kinds.count("serviceClient") == 1
    assert made["clientSecret"] not in text
    factories.purge_tenant(database, tenant)
    assert client.get(f"{CLIENTS}/{made['id']}", headers=operator).status_code == 404


def test_a_viewer_sees_and_does_not_touch(
    client: FlaskClient, app: Flask, operator: Mapping[str, str], database: Database
) -> None:
    client.post(CLIENTS, json=BODY, headers=operator)
    viewer = factories.sign_in(app, factories.make_user(database, role=Role.VIEWER))
    assert len(client.get(CLIENTS, headers=viewer).json) == 1
    assert client.post(CLIENTS, json=BODY, headers=viewer).status_code == 403
