"""Users and their rights through the API, on both databases."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from control_plane.core import tenancy
from control_plane.core.auth import Role
from control_plane.core.database import Database
from control_plane.identity import User
from control_plane.identity.models import UserStatus
from tests import factories
from tests.factories import ANY

BODY = {"username": "li", "password": "a long password", "role": "viewer"}


def names(permissions: list[dict[str, Any]]) -> set[str]:
    return {each["name"] for each in permissions}


def test_a_user_is_created_changed_and_deleted(
    client: FlaskClient, operator: dict[str, str]
) -> None:
    made = client.post("/api/users", json={**BODY, "email": "li@example.com"}, headers=operator)
    assert made.status_code == 201
    assert not [name for name in made.json if "password" in name.lower()]
    assert BODY["password"] not in made.text
    url = f"/api/users/{made.json['id']}"
    assert made.headers["Location"] == url
    shown = client.get(url, headers=operator)
    assert (shown.json, shown.headers["ETag"]) == (made.json, made.headers["ETag"])
    change = {"username": "Li", "role": "operator"}
    changed = client.put(url, json=change, headers=factories.if_match(client, url, operator)).json
    assert (changed["username"], changed["role"], changed["email"]) == ("Li", "operator", None)
    assert "domains:write" in names(changed["permissions"])
    permission = {"id", "name", "description", "resourceType", "actions"}
    assert all(set(each) == permission for each in changed["permissions"])
    stale = client.delete(url, headers={**operator, "If-Match": made.headers["ETag"]})
    assert (stale.status_code, stale.json["code"]) == (412, "precondition_failed")
    assert client.delete(url, headers=operator | ANY).status_code == 204
    assert client.get(url, headers=operator).status_code == 404


def test_some_of_a_user_is_patched(client: FlaskClient, operator: dict[str, str]) -> None:
    made = client.post("/api/users", json={**BODY, "email": "li@example.com"}, headers=operator)
    url = f"/api/users/{made.json['id']}"
    assert client.patch(url, json={"role": "operator"}, headers=operator).status_code == 428
    changed = client.patch(url, json={"role": "operator"}, headers=operator | ANY).json
    assert (changed["role"], changed["email"]) == ("operator", "li@example.com")
    assert client.patch(url, json={"email": None}, headers=operator | ANY).json["email"] is None
    for hidden in ("status", "permissions", "tenantId", "passwordHash", "version", "id"):
        answer = client.patch(url, json={hidden: "x"}, headers=operator | ANY)
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json["errors"]] == [f"#/{hidden}"]
    login = {"username": "li", "password": BODY["password"]}
    assert client.post("/api/auth/login", json=login).status_code == 200


def test_signing_in_changes_no_version(
    app: Flask, client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    user = factories.make_user(database)
    url = f"/api/users/{user.id}"
    matched = factories.if_match(client, url, operator)
    factories.sign_in(app, user)
    assert client.patch(url, json={"email": "x@example.com"}, headers=matched).status_code == 200


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"username": ""}, "#/username"),
        ({"username": "a b"}, "#/username"),
        ({"username": "a\n"}, "#/username"),
        ({"username": "a\u200b"}, "#/username"),
        ({"username": "\u202ea"}, "#/username"),
        ({"username": "\ufdfa" * 100}, "#/username"),
        ({"email": "li@example.com\nBcc: x@example.com"}, "#/email"),
        ({"email": "李@example.com"}, "#/email"),
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
    assert {error["pointer"] for error in answer.json["errors"]} == {pointer}
    assert "short" not in answer.text


def test_a_name_is_taken_once(client: FlaskClient, operator: dict[str, str]) -> None:
    assert client.post("/api/users", json=BODY, headers=operator).status_code == 201
    again = client.post("/api/users", json=BODY, headers=operator)
    assert (again.status_code, again.json["code"]) == (409, "username_taken")


@pytest.mark.parametrize("name", ["LI", "ｌｉ"])
def test_names_differ_by_more_than_case_and_width(
    client: FlaskClient, operator: dict[str, str], name: str
) -> None:
    assert client.post("/api/users", json=BODY, headers=operator).status_code == 201
    same = client.post("/api/users", json={**BODY, "username": name}, headers=operator)
    login = {"username": name, "password": BODY["password"]}
    known = client.post("/api/auth/login", json=login).status_code
    assert (same.status_code, known) == (409, 200)
    assert client.get("/api/users?q=LI", headers=operator).json[0]["username"] == "li"


def test_users_are_found_and_sorted(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    tenant = factories.make_tenant(database)
    for number, role in enumerate(("viewer", "operator", "viewer")):
        body = {**BODY, "username": f"u{number}%", "role": role, "tenantId": str(tenant.id)}
        made = client.post("/api/users", json=body, headers=operator).json
    client.post(f"/api/users/{made['id']}/lock", headers=operator)
    scope = f"/api/users?tenantId={tenant.id}"

    def listed(query: str) -> list[str]:
        answer = client.get(f"{scope}&{query}", headers=operator)
        assert answer.status_code == 200, answer.text
        return [each["username"] for each in answer.json]

    assert listed("role=viewer") == ["u0%", "u2%"]
    assert listed("status=locked") == ["u2%"]
    assert listed("q=1%25") == ["u1%"]
    assert listed("q=%25%25") == []
    assert listed("sort=-username") == ["u2%", "u1%", "u0%"]
    assert client.get(f"{scope}&sort=password", headers=operator).status_code == 422


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


def test_a_change_of_role_counts_with_the_next_request(
    app: Flask, client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    user = factories.make_user(database, role=Role.ADMIN)
    header = factories.sign_in(app, user)
    url = f"/api/users/{user.id}"
    client.patch(url, json={"email": "li@example.com"}, headers=operator | ANY)
    assert client.post("/api/users", json=BODY, headers=header).status_code == 201
    client.patch(url, json={"role": "viewer"}, headers=operator | ANY)
    again = client.post("/api/users", json={**BODY, "username": "wu"}, headers=header)
    assert (again.status_code, again.json["code"]) == (403, "permission_denied")
    assert client.get(url, headers=header).status_code == 200


def test_a_new_password_ends_the_sign_ins(
    app: Flask, client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    user = factories.make_user(database)
    header = factories.sign_in(app, user)
    url = f"/api/users/{user.id}"
    client.patch(url, json={"password": "another long one"}, headers=operator | ANY)
    assert client.get(url, headers=header).status_code == 401
    login = {"username": user.username, "password": "another long one"}
    assert client.post("/api/auth/login", json=login).status_code == 200


def test_nobody_shuts_himself_out(app: Flask, client: FlaskClient, database: Database) -> None:
    user = factories.make_user(database)
    header = factories.sign_in(app, user)
    url = f"/api/users/{user.id}"
    for answer in (
        client.delete(url, headers=header | ANY),
        client.post(f"{url}/lock", headers=header),
        client.patch(url, json={"role": "viewer"}, headers=header | ANY),
        client.patch(url, json={"password": "another long one"}, headers=header | ANY),
    ):
        assert answer.status_code == 422


def _remove(client: FlaskClient, how: str, user: User, header: dict[str, str]) -> int:
    url = f"/api/users/{user.id}"
    if how == "lock":
        return client.post(f"{url}/lock", headers=header).status_code
    if how == "demote":
        return client.patch(url, json={"role": "viewer"}, headers=header | ANY).status_code
    return client.delete(url, headers=header | ANY).status_code


@pytest.mark.parametrize("how", ["lock", "demote", "delete"])
def test_the_last_administrator_stays(
    app: Flask, client: FlaskClient, database: Database, how: str
) -> None:
    admin = factories.make_user(database)
    everything = client.get(
        "/api/permissions?pageSize=100", headers=factories.sign_in(app, admin)
    ).json
    body = {"name": "everything", "permissions": [each["id"] for each in everything]}
    made = client.post("/api/roles", json=body, headers=factories.sign_in(app, admin))
    assert made.status_code == 201, made.text
    other = factories.sign_in(app, factories.make_user(database, role="everything"))
    locked = factories.make_user(database)
    client.post(f"/api/users/{locked.id}/lock", headers=other)
    factories.make_user(database, factories.make_tenant(database))
    assert _remove(client, how, admin, other) == 409
    client.post(f"/api/users/{locked.id}/unlock", headers=other)
    assert _remove(client, how, admin, other) in {200, 204}


@pytest.mark.parametrize("how", ["lock", "demote", "delete"])
def test_two_administrators_do_not_remove_each_other_at_once(
    app: Flask, database: Database, how: str
) -> None:
    for _ in range(3):
        pair = [factories.make_user(database) for _ in range(2)]
        headers = [factories.sign_in(app, user) for user in pair]
        others = zip(reversed(pair), headers, strict=True)
        with ThreadPoolExecutor(2) as pool:
            codes = pool.map(lambda each: _remove(app.test_client(), how, *each), others)
        assert min(codes) in {200, 204}
        with tenancy.platform_context(), database.session() as session:
            query = select(User).where(
                User.tenant_id.is_(None),
                User.built_in_role == Role.ADMIN,
                User.status == UserStatus.ACTIVE,
            )
            left = session.scalars(query).all()
            assert len(left) == 1
            left[0].built_in_role = Role.VIEWER
            session.commit()
