"""Users and their rights through the API, on both databases."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.core.auth import Role
from control_plane.core.database import Database
from tests import factories

BODY = {"username": "li", "password": "a long password", "role": "viewer"}


def test_a_user_is_created_changed_and_deleted(
    client: FlaskClient, operator: dict[str, str]
) -> None:
    made = client.post("/api/users", json={**BODY, "email": "li@example.com"}, headers=operator)
    assert made.status_code == 201
    assert "password" not in made.text
    url = f"/api/users/{made.json['id']}"
    assert client.get(url, headers=operator).json == made.json
    changed = client.put(url, json={"role": "operator"}, headers=operator).json
    assert (changed["role"], changed["email"]) == ("operator", "li@example.com")
    assert "domains:write" in changed["permissions"]
    assert client.delete(url, headers=operator).status_code == 204
    assert client.get(url, headers=operator).status_code == 404


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"username": ""}, "#/username"),
        ({"username": "a b"}, "#/username"),
        ({"username": "a\n"}, "#/username"),
        ({"password": "short"}, "#/password"),
        ({"password": "x" * 201}, "#/password"),
        ({"role": "root"}, "#/role"),
        ({"role": []}, "#/role"),
        ({"tenantId": "x"}, "#/tenantId"),
        ({"tenantId": 1}, "#/tenantId"),
        ({"status": "active"}, "#/status"),
        ({"permissions": ["tenants:write"]}, "#/permissions"),
    ],
)
def test_what_is_wrong_is_pointed_at(
    client: FlaskClient, operator: dict[str, str], change: dict[str, Any], pointer: str
) -> None:
    answer = client.post("/api/users", json={**BODY, **change}, headers=operator)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert "short" not in answer.text


def test_a_name_is_taken_once(client: FlaskClient, operator: dict[str, str]) -> None:
    assert client.post("/api/users", json=BODY, headers=operator).status_code == 201
    again = client.post("/api/users", json=BODY, headers=operator)
    assert (again.status_code, again.json["code"]) == (409, "username_taken")


def test_a_name_taken_in_a_race_is_a_conflict(app: Flask, operator: dict[str, str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        codes = list(
            pool.map(
                lambda _: (
                    app.test_client().post("/api/users", json=BODY, headers=operator).status_code
                ),
                range(4),
            )
        )
    assert sorted(codes) == [201, 409, 409, 409]


def test_a_tenant_has_no_more_users_than_it_may(app: Flask, database: Database) -> None:
    tenant = factories.make_tenant(database, max_users=3)
    admin = factories.sign_in(app, factories.make_user(database, tenant))

    def make(number: int) -> int:
        body = {**BODY, "username": f"user-{uuid.uuid4()}-{number}"}
        return app.test_client().post("/api/users", json=body, headers=admin).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(make, range(4))) == [201, 201, 409, 409]


def test_a_tenants_administrator_manages_the_own_users_only(
    app: Flask, client: FlaskClient, database: Database
) -> None:
    tenant = factories.make_tenant(database)
    admin_user = factories.make_user(database, tenant)
    admin = factories.sign_in(app, admin_user)
    factories.make_user(database, factories.make_tenant(database))
    made = client.post("/api/users", json=BODY, headers=admin).json
    assert made["tenantId"] == str(tenant.id)
    listed = {user["id"] for user in client.get("/api/users", headers=admin).json}
    assert listed == {made["id"], str(admin_user.id)}


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_lesser_roles_do_not_manage_users(
    app: Flask, client: FlaskClient, database: Database, role: Role
) -> None:
    header = factories.sign_in(app, factories.make_user(database, role=role))
    answer = client.post("/api/users", json=BODY, headers=header)
    assert (answer.status_code, answer.json["code"]) == (403, "permission_denied")
    assert client.get("/api/users", headers=header).status_code == 200


def test_a_viewer_changes_nothing(app: Flask, client: FlaskClient, database: Database) -> None:
    tenant = factories.make_tenant(database)
    header = factories.sign_in(app, factories.make_user(database, tenant, Role.VIEWER))
    url = f"/api/tenants/{tenant.id}"
    assert client.get(f"{url}/api-keys", headers=header).status_code == 200
    for path in ("api-keys", "domains", "suspend"):
        assert client.post(f"{url}/{path}", json={}, headers=header).status_code == 403, path


def test_a_locked_user_is_out_at_once(
    app: Flask, client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    user = factories.make_user(database)
    header = factories.sign_in(app, user)
    locked = client.post(f"/api/users/{user.id}/lock", headers=operator)
    assert (locked.status_code, locked.json["status"]) == (200, "locked")
    assert client.get("/api/users", headers=header).status_code == 401
    body = {"username": user.username, "password": factories.PASSWORD}
    assert client.post("/api/auth/login", json=body).json["code"] == "invalid_credentials"
    client.post(f"/api/users/{user.id}/unlock", headers=operator)
    assert client.post("/api/auth/login", json=body).status_code == 200
    assert client.get("/api/users", headers=header).status_code == 401


def test_a_change_of_role_counts_at_once(
    app: Flask, client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    user = factories.make_user(database, role=Role.ADMIN)
    header = factories.sign_in(app, user)
    url = f"/api/users/{user.id}"
    client.put(url, json={"role": "admin", "email": "li@example.com"}, headers=operator)
    assert client.get(url, headers=header).status_code == 200
    client.put(url, json={"role": "viewer"}, headers=operator)
    assert client.post("/api/users", json=BODY, headers=header).status_code == 401


def test_nobody_shuts_himself_out(app: Flask, client: FlaskClient, database: Database) -> None:
    user = factories.make_user(database)
    header = factories.sign_in(app, user)
    url = f"/api/users/{user.id}"
    for answer in (
        client.delete(url, headers=header),
        client.post(f"{url}/lock", headers=header),
        client.put(url, json={"role": "viewer"}, headers=header),
        client.put(url, json={"password": "another long one"}, headers=header),
    ):
        assert answer.status_code == 422
