"""Access tokens of service clients: how they are asked for, what they give, when they end."""

import base64
import datetime
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.core import clock
from control_plane.core.database import Database
from control_plane.tenants import Tenant
from tests import factories
from tests.factories import ANY

Ask = Callable[..., Any]
CLIENTS = "/api/service-clients"


def basic(client_id: str, secret: str) -> dict[str, str]:
    pair = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def test_a_client_gets_a_token_and_acts_in_its_tenant(
    client: FlaskClient, ask: Ask, tenant: Tenant, service_client: dict[str, Any]
) -> None:
    answer = ask()
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    given = answer.json
    assert (given["token_type"], given["expires_in"]) == ("Bearer", 600)
    assert {"domains:write", "usage:read"} <= set(given["scope"].split())
    headers = {"Authorization": f"Bearer {given['access_token']}"}
    listed = client.get("/api/tenants", headers=headers)
    assert [each["id"] for each in listed.json] == [str(tenant.id)]
    made = client.post(
        f"/api/tenants/{tenant.id}/domains", json={"domainName": "a.test"}, headers=headers
    )
    assert made.status_code == 201
    shown = client.get(f"{CLIENTS}/{service_client['id']}", headers=headers).json
    assert shown["lastUsedAt"] is not None
    assert "clientSecret" not in shown


def test_the_secret_may_come_as_basic(client: FlaskClient, service_client: dict[str, Any]) -> None:
    headers = basic(service_client["id"], service_client["clientSecret"])
    form = {"grant_type": "client_credentials"}
    assert client.post("/api/oauth/token", data=form, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"client_secret": "ym_client_wrong"}, 401, "invalid_client"),
        ({"client_secret": None}, 401, "invalid_client"),
        ({"client_id": "0190b5a0-0000-7000-8000-000000000000"}, 401, "invalid_client"),
        ({"client_id": "no uuid \x00"}, 401, "invalid_client"),
        ({"grant_type": None}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ["client_credentials"] * 2}, 400, "invalid_request"),
        ({"scope": "users:read tenants:purge"}, 400, "invalid_scope"),
        ({"scope": "self:write"}, 400, "invalid_scope"),
        ({"scope": "nonsense"}, 400, "invalid_scope"),
    ],
)
def test_what_is_wrong_is_told_as_oauth_tells_it(
    ask: Ask, changed: dict[str, Any], status: int, error: str
) -> None:
    answer = ask(**changed)
    assert (answer.status_code, answer.json["error"]) == (status, error)
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


def test_two_ways_at_once_are_refused(client: FlaskClient, service_client: dict[str, Any]) -> None:
    headers = basic(service_client["id"], service_client["clientSecret"])
    form = {"grant_type": "client_credentials", "client_secret": "x"}
    answer = client.post("/api/oauth/token", data=form, headers=headers)
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    other = {"grant_type": "client_credentials", "client_id": "x"}
    answer = client.post("/api/oauth/token", data=other, headers=headers)
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    answer = client.post("/api/oauth/token", data=form, headers={"Authorization": "Bearer x"})
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")


def test_json_is_not_a_form(client: FlaskClient, service_client: dict[str, Any]) -> None:
    headers = basic(service_client["id"], service_client["clientSecret"])
    body = {"grant_type": "client_credentials"}
    answer = client.post("/api/oauth/token", json=body, headers=headers)
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_a_scope_narrows_the_token(client: FlaskClient, ask: Ask, tenant: Tenant) -> None:
    given = ask(scope="tenants:read  usage:read").json
    assert given["scope"] == "tenants:read usage:read"
    headers = {"Authorization": f"Bearer {given['access_token']}"}
    assert client.get("/api/tenants", headers=headers).status_code == 200
    assert client.get(f"/api/tenants/{tenant.id}/domains", headers=headers).status_code == 403


def test_a_client_has_no_self(client: FlaskClient, token: dict[str, str]) -> None:
    for path in ("/api/auth/me", "/api/auth/sign-ins"):
        assert client.get(path, headers=token).status_code == 403
    assert client.post("/api/auth/logout", headers=token).status_code == 403


def test_deactivation_ends_its_tokens_with_the_next_request(
    client: FlaskClient,
    operator: Mapping[str, str],
    ask: Ask,
    token: dict[str, str],
    service_client: dict[str, Any],
) -> None:
    url = f"{CLIENTS}/{service_client['id']}"
    headers = {**operator, **ANY}
    assert client.patch(url, json={"isActive": False}, headers=headers).status_code == 200
    ended = client.get("/api/tenants", headers=token)
    assert (ended.status_code, ended.json["code"]) == (401, "client_ended")
    assert ask().status_code == 401
    assert client.patch(url, json={"isActive": True}, headers=headers).status_code == 200
    assert client.get("/api/tenants", headers=token).status_code == 200


def test_another_role_counts_with_the_next_request(
    client: FlaskClient,
    operator: Mapping[str, str],
    tenant: Tenant,
    token: dict[str, str],
    service_client: dict[str, Any],
) -> None:
    url, body = f"/api/tenants/{tenant.id}/domains", {"domainName": "b.test"}
    changed = client.patch(
        f"{CLIENTS}/{service_client['id']}", json={"role": "viewer"}, headers={**operator, **ANY}
    )
    assert changed.json["role"] == "viewer"
    assert client.post(url, json=body, headers=token).status_code == 403


def test_a_deleted_client_is_over(
    client: FlaskClient,
    operator: Mapping[str, str],
    ask: Ask,
    token: dict[str, str],
    service_client: dict[str, Any],
) -> None:
    url = f"{CLIENTS}/{service_client['id']}"
    assert client.delete(url, headers={**operator, **ANY}).status_code == 204
    assert client.get("/api/tenants", headers=token).status_code == 401
    assert ask().status_code == 401


def test_a_rotation_without_grace_ends_the_tokens_of_the_former_secret(
    client: FlaskClient,
    operator: Mapping[str, str],
    ask: Ask,
    token: dict[str, str],
    service_client: dict[str, Any],
) -> None:
    url = f"{CLIENTS}/{service_client['id']}/rotate"
    rotated = client.post(url, json={"graceSeconds": 0}, headers=operator)
    assert len(rotated.json["secrets"]) == 1
    assert client.get("/api/tenants", headers=token).status_code == 401
    assert ask().status_code == 401
    assert ask(client_secret=rotated.json["clientSecret"]).status_code == 200


def test_two_secrets_are_good_during_a_rotation(
    client: FlaskClient,
    operator: Mapping[str, str],
    ask: Ask,
    token: dict[str, str],
    service_client: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"{CLIENTS}/{service_client['id']}/rotate"
    rotated = client.post(url, json={"graceSeconds": 60}, headers=operator).json
    assert len(rotated["secrets"]) == 2
    again = client.post(url, json={}, headers=operator)
    assert (again.status_code, again.json["code"]) == (409, "rotation_under_way")
    assert ask().status_code == ask(client_secret=rotated["clientSecret"]).status_code == 200
    later = clock.now() + datetime.timedelta(seconds=61)
    monkeypatch.setattr(clock, "now", lambda: later)
    monkeypatch.setattr("control_plane.service_clients.models.now", lambda: later)
    assert ask().status_code == 401
    assert client.get("/api/tenants", headers=token).json["code"] == "client_ended"


def test_a_token_lasts_no_longer_than_its_client(
    client: FlaskClient,
    operator: Mapping[str, str],
    ask: Ask,
    service_client: dict[str, Any],
) -> None:
    end = (clock.now() + datetime.timedelta(seconds=90)).isoformat()
    url = f"{CLIENTS}/{service_client['id']}"
    client.patch(url, json={"expiresAt": end}, headers={**operator, **ANY})
    assert 80 < ask().json["expires_in"] <= 90


@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
def test_guessing_waits_for_one_network_only(client: FlaskClient, ask: Ask) -> None:
    statuses = [ask(client_secret="wrong").status_code for _ in range(5)]
    assert statuses[:3] == [401, 401, 401]
    assert 429 in statuses
    refused = ask()
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_attempts")
    assert int(refused.headers["Retry-After"]) >= 1
    client.environ_base["REMOTE_ADDR"] = "203.0.113.77"
    assert ask().status_code == 200


@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
def test_a_forged_token_is_refused(
    client: FlaskClient,
    app: Flask,
    token: dict[str, str],
    service_client: dict[str, Any],
    operator: Mapping[str, str],
) -> None:
    database: Database = app.extensions["yumen_database"]
    good = token["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(good, options={"verify_signature": False})
    key, public = database.keyring.signing_key, database.keyring.verifying_key

    def status(claims: dict[str, Any], **how: Any) -> int:
        text = jwt.encode(
            claims,
            how.get("key", key),
            how.get("algorithm", "EdDSA"),
            headers={"typ": how.get("typ", "at+jwt")},
        )
        answer = client.get("/api/tenants", headers={"Authorization": f"Bearer {text}"})
        return int(answer.status_code)

    assert status(claims) == 200
    assert status(claims, algorithm="none", key="") == 401
    assert status(claims, algorithm="HS256", key="a" * 40) == 401
    assert status(claims, typ="JWT") == 401  # it is no user's token either
    assert status({**claims, "exp": 1}) == 401
    assert status({**claims, "iss": "other"}) == 401
    assert status({**claims, "aud": "other"}) == 401
    for name in ("exp", "iss", "aud", "sub", "secret", "iat"):
        assert status({k: v for k, v in claims.items() if k != name}) == 401, name
    assert public not in good
    # A user's token with the header of a client's token is not one.
    user = jwt.decode(operator["Authorization"][7:], options={"verify_signature": False})
    assert status(user) == 401


def test_the_secret_is_kept_nowhere(
    client: FlaskClient,
    operator: Mapping[str, str],
    service_client: dict[str, Any],
    database: Database,
) -> None:
    shown = client.get(f"{CLIENTS}/{service_client['id']}", headers=operator)
    assert service_client["clientSecret"] not in shown.text
    assert service_client["clientSecret"].startswith("ym_client_")
    headers = {**operator, "Idempotency-Key": "one"}
    body = {"name": "x", "role": "viewer"}
    first = client.post(CLIENTS, json=body, headers=headers)
    again = client.post(CLIENTS, json=body, headers=headers)
    assert first.json["id"] == again.json["id"]
    assert "clientSecret" not in again.json
    if database.is_sqlite:
        kept = b"".join(path.read_bytes() for path in database_files(database))
        assert first.json["clientSecret"].encode() not in kept


def database_files(database: Database) -> list[Any]:
    from pathlib import Path  # noqa: PLC0415

    file = Path(str(database.engine.url.database))
    return [path for path in file.parent.glob(f"{file.name}*") if path.is_file()]


def test_a_platforms_client_acts_on_all_tenants(
    client: FlaskClient, operator: Mapping[str, str], tenant: Tenant, database: Database
) -> None:
    other = factories.make_tenant(database)
    made = client.post(CLIENTS, json={"name": "x", "role": "viewer"}, headers=operator).json
    form = {
        "grant_type": "client_credentials",
        "client_id": made["id"],
        "client_secret": made["clientSecret"],
    }
    given = client.post("/api/oauth/token", data=form).json["access_token"]
    listed = client.get("/api/tenants", headers={"Authorization": f"Bearer {given}"}).json
    assert {str(tenant.id), str(other.id)} <= {each["id"] for each in listed}
