"""What users see and end of their own sign-ins; an end is seen by every process at once."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.app import create_app
from control_plane.core.database import Database
from control_plane.core.settings import Settings
from tests import factories
from tests.factories import ANY

Headers = dict[str, str]


def login(client: FlaskClient, username: str, agent: str = "tests") -> dict[str, Any]:
    body = {"username": username, "password": factories.PASSWORD}
    answer = client.post("/api/auth/login", json=body, headers={"User-Agent": agent})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json
    return found


def bearer(tokens: dict[str, Any]) -> Headers:
    return {"Authorization": f"Bearer {tokens['accessToken']}"}


def refresh(client: FlaskClient, tokens: dict[str, Any]) -> int:
    body = {"refreshToken": tokens["refreshToken"]}
    return client.post("/api/auth/refresh-token", json=body).status_code


@pytest.fixture
def other_process(settings: Settings) -> Iterator[FlaskClient]:
    """A client of a second application on the same database."""
    app = create_app(settings)
    yield app.test_client()
    app.extensions["yumen_database"].close()


def test_who_is_signed_in(client: FlaskClient, database: Database) -> None:
    user = factories.make_user(database, role="viewer")
    me = client.get("/api/auth/me", headers=bearer(login(client, user.username)))
    assert (me.json["id"], me.json["role"]) == (str(user.id), "viewer")
    assert "users:read" in {each["name"] for each in me.json["permissions"]}
    assert client.get("/api/auth/me").status_code == 401


def test_own_sign_ins_are_listed_and_ended(client: FlaskClient, database: Database) -> None:
    user = factories.make_user(database)
    here, there = (login(client, user.username, agent) for agent in ("here", "th\tere" + "!" * 300))
    login(client, factories.make_user(database).username)
    listed = client.get("/api/auth/sign-ins", headers=bearer(here)).json
    assert [each["userAgent"] for each in listed] == ["here", "there" + "!" * 195]
    assert [each["current"] for each in listed] == [True, False]
    assert {each["network"] for each in listed} == {"127.0.0.0/24"}
    url = f"/api/auth/sign-ins/{listed[1]['id']}"
    assert client.get(url, headers=bearer(here)).json == listed[1]
    assert client.delete(url, headers=bearer(here)).status_code == 428
    assert client.delete(url, headers=bearer(here) | ANY).status_code == 204
    assert client.get(url, headers=bearer(here)).status_code == 404
    assert client.get("/api/auth/me", headers=bearer(there)).json["code"] == "session_ended"
    assert refresh(client, there) == 401
    assert refresh(client, here) == 200


def test_others_sign_ins_are_not_there(
    client: FlaskClient, database: Database, operator: Headers
) -> None:
    user = factories.make_user(database)
    mine = login(client, user.username)
    (listed,) = client.get("/api/auth/sign-ins", headers=bearer(mine)).json
    url = f"/api/auth/sign-ins/{listed['id']}"
    assert client.get(url, headers=operator).status_code == 404
    assert client.delete(url, headers=operator | ANY).status_code == 404
    assert client.get("/api/auth/me", headers=bearer(mine)).status_code == 200


def test_signing_out_ends_one_sign_in_or_all(client: FlaskClient, database: Database) -> None:
    user = factories.make_user(database)
    first, second, third = (login(client, user.username) for _ in range(3))
    assert client.post("/api/auth/logout", headers=bearer(first)).status_code == 204
    assert client.get("/api/auth/me", headers=bearer(first)).status_code == 401
    assert refresh(client, first) == 401
    assert client.get("/api/auth/me", headers=bearer(second)).status_code == 200
    assert client.post("/api/auth/logout-all", headers=bearer(second)).status_code == 204
    for tokens in (second, third):
        assert client.get("/api/auth/me", headers=bearer(tokens)).status_code == 401
        assert refresh(client, tokens) == 401


@pytest.mark.parametrize("how", ["logout", "logout-all", "lock", "delete", "password"])
def test_an_end_is_seen_by_another_process_at_once(
    app: Flask, other_process: FlaskClient, database: Database, operator: Headers, how: str
) -> None:
    client = app.test_client()
    user = factories.make_user(database)
    tokens = login(client, user.username)
    url = f"/api/users/{user.id}"
    assert other_process.get("/api/auth/me", headers=bearer(tokens)).status_code == 200
    if how == "lock":
        ended = client.post(f"{url}/lock", headers=operator)
    elif how == "delete":
        ended = client.delete(url, headers=operator | ANY)
    elif how == "password":
        body = {"currentPassword": factories.PASSWORD, "newPassword": "another long one"}
        ended = client.post("/api/auth/password", json=body, headers=bearer(tokens))
    else:
        ended = client.post(f"/api/auth/{how}", headers=bearer(tokens))
    assert ended.status_code in {200, 204}
    assert other_process.get("/api/auth/me", headers=bearer(tokens)).status_code == 401
    assert refresh(other_process, tokens) == 401


def test_a_changed_role_acts_in_another_process_at_once(
    app: Flask, other_process: FlaskClient, database: Database, operator: Headers
) -> None:
    body = {"name": "reader", "permissions": ["users:read"]}
    client = app.test_client()
    role = client.post("/api/roles", json=body, headers=operator).json
    header = factories.sign_in(app, factories.make_user(database, role="reader"))
    assert other_process.get("/api/users", headers=header).status_code == 200
    client.patch(f"/api/roles/{role['id']}", json={"permissions": []}, headers=operator | ANY)
    assert other_process.get("/api/users", headers=header).status_code == 403
