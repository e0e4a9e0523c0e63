"""Invitations and forgotten passwords: mailed tokens that are good once, and tell nothing."""

import dataclasses
import datetime
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from control_plane.app import create_app
from control_plane.core import clock, mail
from control_plane.core.database import Database
from control_plane.core.plugins import JobContext
from control_plane.core.settings import Settings, load_settings
from control_plane.identity.models import MailedToken, PasswordResetRequest, Purpose
from control_plane.identity.service import mailed
from control_plane.tenants import Tenant
from tests import factories
from tests.factories import ANY
from tests.mail_server import MailServer

Headers = dict[str, str]
INVITED = {"username": "li", "email": "li@example.com", "role": "viewer"}
CHOSEN = "my own password"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as started:
        yield started


@pytest.fixture
def settings(settings: Settings, server: MailServer) -> Settings:
    """The settings of an installation that sends mail."""
    environ = server.environ | {"YUMEN_ADMIN_PUBLIC_URL": "https://admin.example.com/"}
    given = load_settings(state=settings.state, environ=environ)
    admin = dataclasses.replace(settings.admin, public_url=given.admin.public_url)
    return dataclasses.replace(settings, mail=given.mail, admin=admin)


@pytest.fixture
def work(settings: Settings, database: Database, server: MailServer) -> Any:
    """Do what the worker does, and return the texts of the mails that arrived by that."""

    def work() -> list[str]:
        before = len(server.mails)
        with redis.Redis.from_url(settings.redis_url) as client:
            mailed.answer_requests(JobContext(settings, database, client))
        mail.send_due(settings, database)
        return [message.get_content() for message in server.mails[before:]]

    return work


def token_in(text: str, page: str) -> str:
    """Return the token of a mail, which names it in two languages."""
    found = re.findall(rf"https://admin\.example\.com/account/{page}#(\S+)", text)
    assert len(found) == 2
    assert found[0] == found[1]
    return str(found[0])


def choose(client: FlaskClient, path: str, token: str, password: str = CHOSEN) -> Any:
    return client.post(f"/api/auth/{path}", json={"token": token, "newPassword": password})


def login(client: FlaskClient, username: str, password: str) -> int:
    body = {"username": username, "password": password}
    return client.post("/api/auth/login", json=body).status_code


def test_an_invited_user_chooses_his_password(
    client: FlaskClient, operator: Headers, work: Any, server: MailServer
) -> None:
    made = client.post("/api/users", json=INVITED, headers=operator)
    assert (made.status_code, made.json["status"]) == (201, "inactive")
    (text,) = work()
    assert server.recipients == [["li@example.com"]]
    assert "Hello li," in text
    assert "li，您好：" in text
    token = token_in(text, "invitation")
    assert login(client, "li", CHOSEN) == 401
    assert choose(client, "password-reset/confirm", token).status_code == 422
    assert choose(client, "invitation/accept", token, "short").status_code == 422
    assert choose(client, "invitation/accept", token).status_code == 204
    assert login(client, "li", CHOSEN) == 200
    again = choose(client, "invitation/accept", token, "another password")
    assert [error["pointer"] for error in again.json["errors"]] == ["#/token"]
    assert login(client, "li", CHOSEN) == 200
    user = client.get(f"/api/users/{made.json['id']}", headers=operator).json
    assert user["status"] == "active"
    repeated = client.post(f"/api/users/{user['id']}/invitation", headers=operator)
    assert (repeated.status_code, repeated.json["code"]) == (409, "already_accepted")


def test_a_second_invitation_replaces_the_first(
    client: FlaskClient, tenant: Tenant, tenant_admin: Headers, work: Any
) -> None:
    made = client.post("/api/users", json=INVITED, headers=tenant_admin).json
    (first,) = work()
    url = f"/api/users/{made['id']}"
    assert client.post(f"{url}/invitation", headers=tenant_admin).status_code == 200
    (second,) = work()
    tokens = [token_in(text, "invitation") for text in (first, second)]
    assert choose(client, "invitation/accept", tokens[0]).status_code == 422
    assert choose(client, "invitation/accept", tokens[1]).status_code == 204


def test_an_invitation_to_an_address_that_was_wrong_is_worthless(
    client: FlaskClient, operator: Headers, work: Any
) -> None:
    made = client.post("/api/users", json=INVITED, headers=operator).json
    (text,) = work()
    client.patch(
        f"/api/users/{made['id']}", json={"email": "wu@example.com"}, headers=operator | ANY
    )
    assert choose(client, "invitation/accept", token_in(text, "invitation")).status_code == 422


def test_an_invitation_is_good_for_three_days(
    client: FlaskClient, operator: Headers, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("/api/users", json=INVITED, headers=operator)
    (text,) = work()
    then = clock.now() + datetime.timedelta(hours=72)
    monkeypatch.setattr(clock, "now", lambda: then)
    assert choose(client, "invitation/accept", token_in(text, "invitation")).status_code == 422


def test_a_locked_invitation_stays_locked(
    client: FlaskClient, operator: Headers, work: Any
) -> None:
    made = client.post("/api/users", json=INVITED, headers=operator).json
    (text,) = work()
    url = f"/api/users/{made['id']}"
    client.post(f"{url}/lock", headers=operator)
    assert choose(client, "invitation/accept", token_in(text, "invitation")).status_code == 204
    assert login(client, "li", CHOSEN) == 401
    assert client.post(f"{url}/unlock", headers=operator).json["status"] == "active"
    assert login(client, "li", CHOSEN) == 200


def test_who_never_accepted_is_not_activated_by_unlocking(
    client: FlaskClient, operator: Headers
) -> None:
    made = client.post("/api/users", json=INVITED, headers=operator).json
    url = f"/api/users/{made['id']}"
    assert client.post(f"{url}/unlock", headers=operator).json["status"] == "inactive"
    client.post(f"{url}/lock", headers=operator)
    assert client.post(f"{url}/unlock", headers=operator).json["status"] == "inactive"
    given = client.patch(url, json={"password": CHOSEN}, headers=operator | ANY).json
    assert given["status"] == "active"


@pytest.mark.parametrize("by", ["username", "email"])
def test_a_forgotten_password_is_replaced(
    client: FlaskClient, operator: Headers, work: Any, database: Database, by: str
) -> None:
    body = {**INVITED, "password": "the old password"}
    client.post("/api/users", json=body, headers=operator)
    old = client.post(
        "/api/auth/login", json={"username": "li", "password": "the old password"}
    ).json
    named = {"username": "LI"} if by == "username" else {"email": "LI@example.com"}
    asked = client.post("/api/auth/password-reset", json=named)
    assert (asked.status_code, asked.data) == (204, b"")
    (text,) = work()
    token = token_in(text, "forgotten")
    with database.session(write=False) as session:
        assert token not in {row.digest for row in session.scalars(select(MailedToken))}
    assert login(client, "li", "the old password") == 200
    assert choose(client, "password-reset/confirm", token).status_code == 204
    assert login(client, "li", "the old password") == 401
    assert login(client, "li", CHOSEN) == 200
    me = client.get("/api/auth/me", headers={"Authorization": f"Bearer {old['accessToken']}"})
    assert me.status_code == 401
    assert choose(client, "password-reset/confirm", token).status_code == 422


def test_a_token_is_used_once_also_at_once(
    app: Flask, client: FlaskClient, operator: Headers, work: Any
) -> None:
    client.post("/api/users", json=INVITED, headers=operator)
    (text,) = work()
    token = token_in(text, "invitation")

    def use(number: int) -> int:
        own = app.test_client()
        return int(choose(own, "invitation/accept", token, f"password {number}").status_code)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(use, range(4))) == [204, 422, 422, 422]


def test_who_is_not_there_is_answered_alike(
    client: FlaskClient, operator: Headers, work: Any, database: Database
) -> None:
    """The request does the same for every name: what differs is left to the worker."""
    client.post("/api/users", json={**INVITED, "password": CHOSEN}, headers=operator)
    answers = []
    for named in ({"username": "li"}, {"username": "nobody"}, {"email": "no@example.com"}):
        answer = client.post("/api/auth/password-reset", json=named)
        left_out = {"X-Request-Id", "Date"}
        headers = {k: v for k, v in answer.headers if k not in left_out and "RateLimit" not in k}
        answers.append((answer.status_code, answer.data, headers))
    assert answers[0] == answers[1] == answers[2]
    with database.session(write=False) as session:
        assert len(session.scalars(select(PasswordResetRequest)).all()) == 3
    assert len(work()) == 1
    with database.session(write=False) as session:
        assert session.scalars(select(PasswordResetRequest)).all() == []


@pytest.mark.parametrize("state", ["locked", "invited", "without an address"])
def test_who_may_not_sign_in_gets_no_mail(
    client: FlaskClient, operator: Headers, work: Any, state: str
) -> None:
    body = {**INVITED, **({} if state == "invited" else {"password": CHOSEN})}
    if state == "without an address":
        del body["email"]
    made = client.post("/api/users", json=body, headers=operator).json
    work()
    if state == "locked":
        client.post(f"/api/users/{made['id']}/lock", headers=operator)
    assert client.post("/api/auth/password-reset", json={"username": "li"}).status_code == 204
    assert work() == []


def test_nobody_is_flooded_with_mails(client: FlaskClient, operator: Headers, work: Any) -> None:
    client.post("/api/users", json={**INVITED, "password": CHOSEN}, headers=operator)
    codes = [
        client.post(
            "/api/auth/password-reset",
            json={"username": "li"},
            environ_base={"REMOTE_ADDR": f"198.51.{number}.1"},
        ).status_code
        for number in range(20)
    ]
    assert codes == [204] * 20
    assert len(work()) == 1
    asked = [client.post("/api/auth/password-reset", json={"username": f"u{n}"}) for n in range(30)]
    assert asked[-1].status_code == 429
    assert int(asked[-1].headers["Retry-After"]) > 0


def test_a_shared_address_gets_a_mail_for_each_user(
    client: FlaskClient, operator: Headers, work: Any
) -> None:
    for username in ("li", "wu"):
        body = {**INVITED, "username": username, "password": CHOSEN}
        client.post("/api/users", json=body, headers=operator)
    client.post("/api/auth/password-reset", json={"email": "li@example.com"})
    assert sorted(re.findall(r"Hello (\w+),", "".join(work()))) == ["li", "wu"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/username"),
        ({"username": "li", "email": "li@example.com"}, "#/username"),
        ({"username": 1}, "#/username"),
        ({"token": "x"}, "#/token"),
    ],
)
def test_a_reset_names_one_of_both(client: FlaskClient, body: dict[str, Any], pointer: str) -> None:
    answer = client.post("/api/auth/password-reset", json=body)
    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.json["errors"]]


def test_an_invitation_needs_an_address(client: FlaskClient, operator: Headers) -> None:
    answer = client.post("/api/users", json={**INVITED, "email": None}, headers=operator)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json["errors"]] == ["#/email"]


def test_without_a_mail_server_it_is_said(settings: Settings, database: Database) -> None:
    silent = dataclasses.replace(settings, mail=dataclasses.replace(settings.mail, host=None))
    app = create_app(silent)
    client = app.test_client()
    header = factories.sign_in(app, factories.make_user(database))
    invited = client.post("/api/users", json=INVITED, headers=header)
    assert [error["pointer"] for error in invited.json["errors"]] == ["#/password"]
    assert "mail.host" in invited.json["errors"][0]["detail"]
    reset = client.post("/api/auth/password-reset", json={"username": "li"})
    assert (reset.status_code, reset.json["code"]) == (409, "mail_not_configured")
    app.extensions["yumen_database"].close()


def test_who_reads_the_mail_gets_in_while_strangers_guess(
    client: FlaskClient, operator: Headers, work: Any
) -> None:
    client.post("/api/users", json={**INVITED, "password": "the old password"}, headers=operator)
    for number in range(10):
        stranger = {"REMOTE_ADDR": f"198.51.{number}.1"}
        body = {"username": "li", "password": "wrong"}
        client.post("/api/auth/login", json=body, environ_base=stranger)
    assert login(client, "li", "the old password") == 429
    client.post("/api/auth/password-reset", json={"username": "li"})
    (text,) = work()
    assert choose(client, "password-reset/confirm", token_in(text, "forgotten")).status_code == 204
    assert login(client, "li", CHOSEN) == 200


def test_links_lead_to_a_page_that_asks_the_api(app: Flask, client: FlaskClient) -> None:
    for purpose in Purpose:
        page = client.get(f"/account/{purpose.value}")
        assert (page.status_code, page.mimetype) == (200, "text/html")
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert "<script>" not in page.text
    script = client.get("/account/page.js").text
    paths = dict(re.findall(r'(\w+): "(auth/[a-z/-]+)"', script))
    assert set(paths) == {purpose.value for purpose in Purpose}
    served = {rule.rule for rule in app.url_map.iter_rules()}
    assert {f"/api/{path}" for path in paths.values()} <= served
    assert client.get("/account/page.css").status_code == 200
    for missing in ("/account/", "/account/other", "/account/page.html", "/account/../config"):
        assert client.get(missing).status_code == 404
