"""Signing in: passwords, access tokens, and refresh tokens that are good once."""

import datetime
import runpy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import argon2
import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from control_plane import identity
from control_plane.core import clock, tenancy
from control_plane.core.auth import Role
from control_plane.core.database import Database
from control_plane.core.errors import ApiError
from control_plane.core.outbox import OutboxEvent
from control_plane.core.plugins import JobContext
from control_plane.identity.models import RefreshToken, UserSession
from control_plane.identity.service import passwords, sessions
from tests import factories


def login(client: FlaskClient, username: str, password: str = factories.PASSWORD) -> Any:
    return client.post("/api/auth/login", json={"username": username, "password": password})


def refresh(client: FlaskClient, token: str) -> Any:
    return client.post("/api/auth/refresh-token", json={"refreshToken": token})


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['accessToken']}"}


def turn_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    then = clock.now() + datetime.timedelta(seconds=seconds)
    monkeypatch.setattr(clock, "now", lambda: then)


def test_the_first_operator_is_made_once(client: FlaskClient, database: Database) -> None:
    with database.transaction() as session:
        password = identity.create_first_operator(session)
    with database.transaction() as session:
        assert identity.create_first_operator(session) is None
    answer = login(client, "operator", str(password))
    assert answer.status_code == 200
    assert set(answer.json) == {"accessToken", "refreshToken", "expiresIn"}
    assert answer.json["expiresIn"] == 600
    (shown,) = client.get("/api/users", headers=bearer(answer.json)).json
    assert (shown["username"], shown["role"], shown["tenantId"]) == ("operator", "admin", None)
    assert shown["lastLogin"] is not None
    assert not [name for name in shown if "password" in name.lower()]


def test_a_wrong_name_and_a_wrong_password_answer_alike(
    client: FlaskClient, database: Database
) -> None:
    user = factories.make_user(database)
    wrong = login(client, user.username, "not the password")
    unknown = login(client, "nobody", "not the password")
    assert wrong.status_code == unknown.status_code == 401
    assert {**wrong.json, "requestId": ""} == {**unknown.json, "requestId": ""}
    assert wrong.json["code"] == "invalid_credentials"


def test_an_unknown_name_costs_a_hash_too(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    verify = passwords._hasher.verify

    class Watched:
        def verify(self, password_hash: str, password: str) -> bool:
            checked.append(password_hash)
            return verify(password_hash, password)

    monkeypatch.setattr(passwords, "_hasher", Watched())
    monkeypatch.setattr(passwords, "_dummy_hash", factories.password_hash)
    assert login(client, "nobody").status_code == 401
    assert len(checked) == 1


def test_a_hash_is_as_costly_as_it_should_be() -> None:
    fresh = runpy.run_path(str(passwords.__file__))
    hashed = argon2.extract_parameters(fresh["hash_password"]("a password"))
    assert hashed.type is argon2.Type.ID
    assert (hashed.time_cost, hashed.memory_cost) >= (3, 64 * 1024)


def test_only_a_few_hashes_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_WAIT_SECONDS", 0.01)
    with passwords._slot(), passwords._slot():
        with pytest.raises(ApiError, match="Too many sign-ins") as caught:
            passwords.hash_password("x")
        assert caught.value.status == 503
    assert passwords.verify_password(factories.PASSWORD, factories.password_hash())


def test_an_access_token_is_ours_and_ends(
    app: Flask, client: FlaskClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = login(client, factories.make_user(database).username).json
    token = tokens["accessToken"]
    header, claims = (
        jwt.get_unverified_header(token),
        jwt.decode(token, options={"verify_signature": False}),
    )
    assert header["alg"] == "EdDSA"
    assert claims["exp"] - claims["iat"] == 600
    public = database.keyring.verifying_key
    forged = [
        jwt.encode(claims, key="", algorithm="none"),
        jwt.encode(claims, key="x" * 64, algorithm="HS256"),
        jwt.encode({**claims, "iss": "other"}, database.keyring.signing_key, algorithm="EdDSA"),
        jwt.encode({**claims, "aud": "other"}, database.keyring.signing_key, algorithm="EdDSA"),
        jwt.encode({**claims, "type": "refresh"}, database.keyring.signing_key, algorithm="EdDSA"),
        token[:-4] + "AAAA",
    ]
    ours = {"issuer": "yumen", "audience": "yumen-api"}
    assert jwt.decode(token, public, algorithms=["EdDSA"], **ours) == claims
    for bad in forged:
        answer = client.get("/api/users", headers={"Authorization": f"Bearer {bad}"})
        assert (answer.status_code, answer.json["code"]) == (401, "invalid_token"), bad
    late = jwt.encode(
        {**claims, "exp": claims["iat"] - 1}, database.keyring.signing_key, algorithm="EdDSA"
    )
    answer = client.get("/api/users", headers={"Authorization": f"Bearer {late}"})
    assert (answer.status_code, answer.json["code"]) == (401, "token_expired")


def test_a_refresh_token_is_exchanged(client: FlaskClient, database: Database) -> None:
    first = login(client, factories.make_user(database).username).json
    second = refresh(client, first["refreshToken"]).json
    third = refresh(client, second["refreshToken"]).json
    assert len({each["refreshToken"] for each in (first, second, third)}) == 3
    assert client.get("/api/users", headers=bearer(third)).status_code == 200
    with database.session(write=False) as session:
        kept = session.scalars(select(RefreshToken.digest)).all()
    assert not {first["refreshToken"], second["refreshToken"]} & set(kept)


def test_parallel_uses_of_one_token_get_one_successor(app: Flask, database: Database) -> None:
    token = login(app.test_client(), factories.make_user(database).username).json["refreshToken"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: refresh(app.test_client(), token), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["refreshToken"] for answer in answers}) == 1


@pytest.mark.parametrize("replay", ["after the grace", "after the successor was used"])
def test_a_token_that_is_used_again_ends_the_sign_in(
    client: FlaskClient, database: Database, monkeypatch: pytest.MonkeyPatch, replay: str
) -> None:
    first = login(client, factories.make_user(database).username).json
    second = refresh(client, first["refreshToken"]).json
    if replay == "after the grace":
        turn_clock(monkeypatch, sessions.GRACE.total_seconds() + 1)
    else:
        second = refresh(client, second["refreshToken"]).json
    stolen = refresh(client, first["refreshToken"])
    assert (stolen.status_code, stolen.json["code"]) == (401, "refresh_token_reused")
    mine = refresh(client, second["refreshToken"])
    assert (mine.status_code, mine.json["code"]) == (401, "invalid_refresh_token")
    access = client.get("/api/users", headers=bearer(second))
    assert (access.status_code, access.json["code"]) == (401, "session_ended")
    with database.session(write=False) as session:
        events = session.scalars(select(OutboxEvent.name)).all()
    assert "identity.refresh_token_reused" in events


@pytest.mark.parametrize("token", ["x", "é", "\u0001", "y" * 200])
def test_an_unknown_refresh_token_ends_nothing(
    client: FlaskClient, database: Database, token: str
) -> None:
    tokens = login(client, factories.make_user(database).username).json
    answer = refresh(client, token)
    assert (answer.status_code, answer.json["code"]) == (401, "invalid_refresh_token")
    assert client.get("/api/users", headers=bearer(tokens)).status_code == 200


def test_an_old_refresh_token_is_over_and_forgotten(
    client: FlaskClient,
    database: Database,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = login(client, factories.make_user(database).username).json["refreshToken"]
    turn_clock(monkeypatch, 14 * 86400 + 1)
    assert refresh(client, token).json["code"] == "invalid_refresh_token"
    sessions.forget_expired_tokens(JobContext(settings, database, None))
    with database.session(write=False) as session:
        assert session.scalars(select(RefreshToken)).all() == []
        assert session.scalars(select(UserSession)).all() == []


def test_signing_out_ends_all_tokens_of_the_sign_in(
    client: FlaskClient, database: Database
) -> None:
    user = factories.make_user(database)
    gone, staying = login(client, user.username).json, login(client, user.username).json
    assert client.post("/api/auth/logout", headers=bearer(gone)).status_code == 204
    assert client.get("/api/users", headers=bearer(gone)).json["code"] == "session_ended"
    assert refresh(client, gone["refreshToken"]).json["code"] == "invalid_refresh_token"
    assert client.get("/api/users", headers=bearer(staying)).status_code == 200


def test_the_own_password_is_changed(client: FlaskClient, database: Database) -> None:
    user = factories.make_user(database, role=Role.VIEWER)
    tokens = login(client, user.username).json
    body = {"currentPassword": "wrong password", "newPassword": "another long one"}
    assert client.post("/api/auth/password", json=body, headers=bearer(tokens)).status_code == 401
    body["currentPassword"] = factories.PASSWORD
    assert client.post("/api/auth/password", json=body, headers=bearer(tokens)).status_code == 204
    assert client.get("/api/users", headers=bearer(tokens)).status_code == 401
    assert login(client, user.username).status_code == 401
    assert login(client, user.username, "another long one").status_code == 200


def test_a_sign_in_does_not_keep_others_from_writing(
    app: Flask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a password is hashed no transaction is open."""
    user = factories.make_user(database)
    verify = passwords.verify_password

    def verify_and_write(password: str, password_hash: str | None) -> bool:
        with tenancy.platform_context(), database.transaction() as session:
            session.add(OutboxEvent(name="x", payload={}, created_at=clock.now()))
        return verify(password, password_hash)

    monkeypatch.setattr(passwords, "verify_password", verify_and_write)
    assert login(app.test_client(), user.username).status_code == 200
