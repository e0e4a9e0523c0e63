"""Custom roles and permissions through the API: nobody gives what he does not have himself."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.core import plugins
from control_plane.core.auth import Permission
from control_plane.core.database import Database
from control_plane.tenants import Tenant
from tests import factories
from tests.factories import ANY

READER = {"name": "reader", "description": "Reads.", "permissions": ["users:read", "roles:read"]}
HELPER = {"name": "helper", "permissions": ["users:read", "users:write", "roles:write"]}

Headers = dict[str, str]


@pytest.fixture
def make(app: Flask, client: FlaskClient, database: Database) -> Callable[..., Headers]:
    """Make a role, and return the `Authorization` of somebody who has it."""

    def make(maker: Headers, tenant: Tenant | None = None, **body: Any) -> Headers:
        made = client.post("/api/roles", json=body, headers=maker)
        assert made.status_code == 201, made.text
        return factories.sign_in(app, factories.make_user(database, tenant, role=body["name"]))

    return make


def test_a_role_is_made_changed_and_deleted(client: FlaskClient, operator: Headers) -> None:
    made = client.post("/api/roles", json=READER, headers=operator)
    assert made.status_code == 201
    assert set(made.json) == {
        "id",
        "tenantId",
        "name",
        "description",
        "permissions",
        "fieldPermissions",
        "creationDate",
    }
    assert made.json["tenantId"] is None
    assert made.json["permissions"] == ["roles:read", "users:read"]
    url = f"/api/roles/{made.json['id']}"
    assert made.headers["Location"] == url
    assert client.get(url, headers=operator).json == made.json
    assert client.put(url, json=READER, headers=operator).status_code == 428
    change = {"name": "auditor", "permissions": ["users:read"]}
    changed = client.put(url, json=change, headers=factories.if_match(client, url, operator)).json
    assert (changed["name"], changed["description"]) == ("auditor", None)
    patched = client.patch(url, json={"description": "Looks."}, headers=operator | ANY).json
    assert (patched["name"], patched["description"]) == ("auditor", "Looks.")
    assert client.get("/api/roles", headers=operator).json == [patched]
    assert client.delete(url, headers=operator | ANY).status_code == 204
    assert client.get(url, headers=operator).status_code == 404


@pytest.mark.parametrize(
    ("change", "pointer", "said"),
    [
        ({"name": "Admin"}, "#/name", "built-in"),
        ({"name": "viewer"}, "#/name", "built-in"),
        ({"name": " x"}, "#/name", "spaces"),
        ({"name": "x" * 51}, "#/name", "50"),
        ({"permissions": ["users:read", "users:rule"]}, "#/permissions", "users:rule"),
        ({"permissions": "users:read"}, "#/permissions", "list"),
        ({"permissions": None}, "#/permissions", "null"),
        ({"version": 1}, "#/version", "Unknown"),
        ({"id": str(uuid.uuid4())}, "#/id", "Unknown"),
    ],
)
def test_what_is_wrong_is_pointed_at(
    client: FlaskClient, operator: Headers, change: dict[str, Any], pointer: str, said: str
) -> None:
    answer = client.post("/api/roles", json={**READER, **change}, headers=operator)
    assert answer.status_code == 422
    (error,) = answer.json["errors"]
    assert error["pointer"] == pointer
    assert said in error["detail"]


@pytest.mark.parametrize("of_tenant", [False, True])
def test_a_name_is_taken_once_in_a_scope(
    app: Flask, operator: Headers, tenant: Tenant, of_tenant: bool
) -> None:
    body = {**READER, "tenantId": str(tenant.id) if of_tenant else None}

    def post(_: int) -> int:
        return app.test_client().post("/api/roles", json=body, headers=operator).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(post, range(4))) == [201, 409, 409, 409]
    other = {**READER, "tenantId": None if of_tenant else str(tenant.id)}
    assert app.test_client().post("/api/roles", json=other, headers=operator).status_code == 201


def test_a_role_gives_what_it_holds_with_the_next_request(
    client: FlaskClient, operator: Headers, make: Callable[..., Headers]
) -> None:
    header = make(operator, **READER)
    (role,) = client.get("/api/roles", headers=operator).json
    url = f"/api/roles/{role['id']}"
    assert client.get("/api/users", headers=header).status_code == 200
    me = client.get("/api/auth/me", headers=header).json
    assert me["role"] == "reader"
    assert [each["id"] for each in me["permissions"]] == ["users:read", "roles:read", "self:write"]
    client.patch(url, json={"permissions": ["roles:read"]}, headers=operator | ANY)
    assert client.get("/api/users", headers=header).json["code"] == "permission_denied"
    client.patch(url, json={"permissions": ["users:read"]}, headers=operator | ANY)
    assert client.get("/api/users", headers=header).status_code == 200
    assert client.get("/api/roles", headers=header).json["code"] == "permission_denied"


def test_a_permission_that_is_gone_gives_nothing(
    client: FlaskClient,
    operator: Headers,
    make: Callable[..., Headers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header = make(operator, **READER)
    left = [each for each in plugins.permissions() if each.name != "roles:read"]
    monkeypatch.setattr(plugins, "permissions", lambda: left)
    me = client.get("/api/auth/me", headers=header).json
    assert [each["id"] for each in me["permissions"]] == ["users:read", "self:write"]


def test_a_role_in_use_is_not_deleted(
    client: FlaskClient, operator: Headers, make: Callable[..., Headers]
) -> None:
    header = make(operator, **READER)
    (role,) = client.get("/api/roles", headers=operator).json
    url = f"/api/roles/{role['id']}"
    refused = client.delete(url, headers=operator | ANY)
    assert (refused.status_code, refused.json["code"]) == (409, "role_in_use")
    me = client.get("/api/auth/me", headers=header).json
    user_url = f"/api/users/{me['id']}"
    client.patch(user_url, json={"role": "viewer"}, headers=operator | ANY)
    assert client.delete(url, headers=operator | ANY).status_code == 204


def test_a_role_given_while_it_is_deleted_is_one_or_the_other(
    app: Flask, client: FlaskClient, operator: Headers
) -> None:
    for number in range(4):
        body = {**READER, "name": f"reader-{number}"}
        role = client.post("/api/roles", json=body, headers=operator).json
        user = {"username": f"u{number}", "password": "a long password", "role": body["name"]}
        with ThreadPoolExecutor(2) as pool:
            deleted = pool.submit(
                app.test_client().delete, f"/api/roles/{role['id']}", headers=operator | ANY
            )
            given = pool.submit(app.test_client().post, "/api/users", json=user, headers=operator)
        outcome = (deleted.result().status_code, given.result().status_code)
        assert outcome in {(409, 201), (204, 409), (204, 422)}
        shown = client.get(f"/api/users?q=u{number}", headers=operator).json
        assert [each["role"] for each in shown] == ([body["name"]] if outcome[1] == 201 else [])


def test_nobody_makes_a_role_of_what_he_lacks(
    client: FlaskClient, operator: Headers, make: Callable[..., Headers]
) -> None:
    helper = make(operator, **HELPER)
    body = {"name": "more", "permissions": ["users:read", "tenants:write"]}
    refused = client.post("/api/roles", json=body, headers=helper)
    assert (refused.status_code, refused.json["code"]) == (403, "permissions_not_held")
    assert "tenants:write" in refused.json["detail"]
    assert "users:read" not in refused.json["detail"]
    made = client.post(
        "/api/roles", json={"name": "less", "permissions": ["users:read"]}, headers=helper
    )
    url = f"/api/roles/{made.json['id']}"
    for change in (
        {"permissions": ["users:read", "tenants:write"]},
        {"permissions": ["api-keys:write"]},
    ):
        answer = client.patch(url, json=change, headers=helper | ANY)
        assert answer.json["code"] == "permissions_not_held"


def test_nobody_changes_a_role_that_is_stronger_than_he(
    client: FlaskClient, operator: Headers, make: Callable[..., Headers]
) -> None:
    helper = make(operator, **HELPER)
    body = {"name": "strong", "permissions": ["tenants:write"]}
    url = f"/api/roles/{client.post('/api/roles', json=body, headers=operator).json['id']}"
    for answer in (
        client.put(url, json={"name": "weak", "permissions": []}, headers=helper | ANY),
        client.patch(url, json={"name": "weak"}, headers=helper | ANY),
        client.delete(url, headers=helper | ANY),
    ):
        assert (answer.status_code, answer.json["code"]) == (403, "permissions_not_held")


def test_nobody_gives_a_role_of_what_he_lacks(
    client: FlaskClient, operator: Headers, make: Callable[..., Headers]
) -> None:
    helper = make(operator, **HELPER)
    user = {"username": "li", "password": "a long password", "role": "operator"}
    refused = client.post("/api/users", json=user, headers=helper)
    assert refused.json["code"] == "permissions_not_held"
    weak = {"name": "weak", "permissions": ["users:read"]}
    client.post("/api/roles", json=weak, headers=helper)
    made = client.post("/api/users", json={**user, "role": "weak"}, headers=helper)
    assert made.status_code == 201
    url = f"/api/users/{made.json['id']}"
    for role in ("operator", "admin", "viewer"):
        answer = client.patch(url, json={"role": role}, headers=helper | ANY)
        assert answer.json["code"] == "permissions_not_held", role


def test_nobody_takes_over_somebody_stronger(
    app: Flask,
    client: FlaskClient,
    database: Database,
    operator: Headers,
    make: Callable[..., Headers],
) -> None:
    """A new password or e-mail address of an administrator would be his rights."""
    helper = make(operator, **HELPER)
    url = f"/api/users/{factories.make_user(database).id}"
    for answer in (
        client.patch(url, json={"password": "another long one"}, headers=helper | ANY),
        client.patch(url, json={"email": "helper@example.com"}, headers=helper | ANY),
        client.patch(url, json={"role": "helper"}, headers=helper | ANY),
        client.post(f"{url}/lock", headers=helper),
        client.post(f"{url}/invitation", headers=helper),
        client.delete(url, headers=helper | ANY),
    ):
        assert (answer.status_code, answer.json["code"]) == (403, "permissions_not_held")


def test_a_tenants_role_holds_a_tenants_permissions_only(
    client: FlaskClient, operator: Headers, tenant: Tenant, tenant_admin: Headers
) -> None:
    body = {"name": "boss", "permissions": ["users:read", "tenants:write"]}
    for header, tenant_id in ((operator, str(tenant.id)), (tenant_admin, None)):
        answer = client.post("/api/roles", json={**body, "tenantId": tenant_id}, headers=header)
        assert answer.status_code == 422
        (error,) = answer.json["errors"]
        assert error["pointer"] == "#/permissions"
        assert "tenants:write" in error["detail"]
        assert "users:read" not in error["detail"]
    assert client.post("/api/roles", json=body, headers=operator).status_code == 201


def test_a_role_is_given_in_its_own_scope_only(
    app: Flask,
    client: FlaskClient,
    database: Database,
    operator: Headers,
    tenant: Tenant,
    tenant_admin: Headers,
) -> None:
    other = factories.make_tenant(database)
    for name, tenant_id in (("ours", tenant.id), ("theirs", other.id), ("platforms", None)):
        body = {"name": name, "permissions": ["users:read"]}
        body["tenantId"] = None if tenant_id is None else str(tenant_id)
        assert client.post("/api/roles", json=body, headers=operator).status_code == 201

    def give(role: str, header: Headers, tenant_id: uuid.UUID | None) -> Any:
        body = {"username": f"u-{uuid.uuid4()}", "password": "a long password", "role": role}
        body["tenantId"] = None if tenant_id is None else str(tenant_id)
        return client.post("/api/users", json=body, headers=header)

    assert give("ours", tenant_admin, None).status_code == 201
    assert give("ours", operator, tenant.id).status_code == 201
    assert give("platforms", operator, None).status_code == 201
    for refused in (
        give("theirs", tenant_admin, None),
        give("platforms", tenant_admin, None),
        give("platforms", operator, tenant.id),
        give("ours", operator, None),
        give("ours", operator, other.id),
        give("none", operator, None),
    ):
        assert refused.status_code == 422
        assert [error["pointer"] for error in refused.json["errors"]] == ["#/role"]


def test_a_tenant_sees_its_own_roles_only(
    client: FlaskClient,
    database: Database,
    operator: Headers,
    tenant: Tenant,
    tenant_admin: Headers,
) -> None:
    other = factories.make_tenant(database)
    made = {
        tenant_id: client.post(
            "/api/roles", json={**READER, "tenantId": tenant_id}, headers=operator
        ).json["id"]
        for tenant_id in (None, str(tenant.id), str(other.id))
    }
    mine = made.pop(str(tenant.id))
    assert [each["id"] for each in client.get("/api/roles", headers=tenant_admin).json] == [mine]
    for role_id in made.values():
        url = f"/api/roles/{role_id}"
        assert client.get(url, headers=tenant_admin).status_code == 404
        assert client.delete(url, headers=tenant_admin | ANY).status_code == 404
    everything = {each["id"] for each in client.get("/api/roles", headers=operator).json}
    assert everything == {mine, *made.values()}
    theirs = client.get(f"/api/roles?tenantId={other.id}", headers=operator).json
    assert [each["id"] for each in theirs] == [made[str(other.id)]]
    foreign = {**READER, "tenantId": str(other.id)}
    assert client.post("/api/roles", json=foreign, headers=tenant_admin).status_code == 404


def test_permissions_are_listed_with_the_fields_of_the_specification(
    client: FlaskClient, operator: Headers, tenant_admin: Headers
) -> None:
    answer = client.get("/api/permissions?pageSize=100", headers=operator)
    listed = {each["id"]: each for each in answer.json}
    assert set(listed) == {each.name for each in plugins.permissions()}
    assert listed["users:write"] == {
        "id": "users:write",
        "name": "users:write",
        "description": "Create, invite, change, lock and delete users.",
        "resourceType": "users",
        "actions": ["write"],
        "platform": False,
        "leastRole": "admin",
    }
    assert listed["tenants:write"]["platform"] is True
    tenants = client.get("/api/permissions?pageSize=100", headers=tenant_admin).json
    assert {each["id"] for each in tenants} == {
        name for name, each in listed.items() if not each["platform"]
    }
    page = client.get("/api/permissions?pageSize=2&page=2", headers=operator)
    assert [each["id"] for each in page.json] == sorted(listed)[2:4]


@pytest.mark.parametrize("name", ["users", "users:", "Users:read", "users:read:all", "users read"])
def test_a_permission_is_named_by_resource_and_action(name: str) -> None:
    with pytest.raises(ValueError, match="resource:action"):
        Permission(name, "x")
