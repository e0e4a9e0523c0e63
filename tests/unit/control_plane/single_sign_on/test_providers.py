"""Identity providers as they are kept: who may add which, and what a change of one does."""

import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text

from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.single_sign_on.models import ExternalIdentity
from control_plane.tenants import Tenant
from tests import factories
from tests.factories import ANY

PROVIDERS = "/api/identity-providers"
SECRET = "a-secret-for-the-provider"
BODY = {
    "name": "Company",
    "issuer": "https://203.0.114.9/realm/",
    "clientId": "yumen",
    "clientSecret": SECRET,
}


def test_a_tenants_administrator_adds_providers_of_his_own_tenant(
    client: FlaskClient, tenant_admin: Mapping[str, str], tenant: Tenant, database: Database
) -> None:
    made = client.post(PROVIDERS, json=BODY, headers=tenant_admin)
    assert made.status_code == 201, made.text
    assert made.json == {
        "id": made.json["id"],
        "tenantId": str(tenant.id),
        "name": "Company",
        "issuer": "https://203.0.114.9/realm/",
        "clientId": "yumen",
        "hasClientSecret": True,
        "scopes": ["openid", "email", "profile"],
        "defaultRole": None,
        "allowedEmailDomains": [],
        "isActive": True,
        "redirectUri": f"http://127.0.0.1:8081/api/auth/providers/{made.json['id']}/callback",
        "creationDate": made.json["creationDate"],
    }
    other = factories.make_tenant(database)
    theirs = {**BODY, "tenantId": str(other.id)}
    assert client.post(PROVIDERS, json=theirs, headers=tenant_admin).status_code == 404


def test_a_tenant_does_not_see_the_platforms_providers(
    client: FlaskClient, operator: Mapping[str, str], tenant_admin: Mapping[str, str]
) -> None:
    made = client.post(PROVIDERS, json=BODY, headers=operator).json
    assert client.get(PROVIDERS, headers=tenant_admin).json == []
    url = f"{PROVIDERS}/{made['id']}"
    assert client.get(url, headers=tenant_admin).status_code == 404
    assert client.delete(url, headers={**tenant_admin, **ANY}).status_code == 404


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"issuer": "http://203.0.114.9"}, "#/issuer"),
        ({"issuer": "https://127.0.0.1"}, "#/issuer"),
        ({"issuer": "https://[::ffff:10.0.0.1]"}, "#/issuer"),
        ({"issuer": "https://localhost"}, "#/issuer"),
        ({"issuer": "https://a@203.0.114.9"}, "#/issuer"),
        ({"issuer": "https://203.0.114.9?x=1"}, "#/issuer"),
        ({"issuer": "203.0.114.9"}, "#/issuer"),
        ({"scopes": []}, "#/scopes"),
        ({"scopes": ["email"]}, "#/scopes"),
        ({"scopes": ["openid", "a b"]}, "#/scopes/1"),
        ({"clientId": "a b"}, "#/clientId"),
        ({"clientSecret": "\n"}, "#/clientSecret"),
        ({"defaultRole": "nobody"}, "#/defaultRole"),
        ({"allowedEmailDomains": ["@example.com"]}, "#/allowedEmailDomains/0"),
        ({"allowedEmailDomains": ["example"]}, "#/allowedEmailDomains/0"),
        ({"name": ""}, "#/name"),
    ],
)
@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
def test_bad_input_is_named(
    client: FlaskClient, operator: Mapping[str, str], changed: dict[str, Any], pointer: str
) -> None:
    answer = client.post(PROVIDERS, json={**BODY, **changed}, headers=operator)
    assert answer.status_code == 422, answer.text
    assert [each["pointer"] for each in answer.json["errors"]] == [pointer]


def test_a_secret_never_comes_back_and_lies_there_encrypted(
    client: FlaskClient, operator: Mapping[str, str], database: Database
) -> None:
    made = client.post(PROVIDERS, json=BODY, headers=operator)
    url = f"{PROVIDERS}/{made.json['id']}"
    for answer in (
        made,
        client.get(url, headers=operator),
        client.get(PROVIDERS, headers=operator),
    ):
        assert SECRET not in answer.text
    with tenancy.platform_context(), database.engine.connect() as connection:
        kept = connection.scalar(text("SELECT client_secret FROM identity_providers"))
    assert kept
    assert SECRET not in kept


def test_another_issuer_needs_the_secret_again_and_knows_nobody(
    client: FlaskClient, operator: Mapping[str, str], database: Database
) -> None:
    made = client.post(PROVIDERS, json=BODY, headers=operator).json
    user = factories.make_user(database)
    with tenancy.platform_context(), database.transaction() as session:
        known = {"provider_id": uuid.UUID(made["id"]), "user_id": user.id}
        session.add(ExternalIdentity(subject="li", **known))
    url, headers = f"{PROVIDERS}/{made['id']}", {**operator, **ANY}

    def linked() -> int:
        with tenancy.platform_context(), database.session(write=False) as session:
            return len(session.scalars(select(ExternalIdentity)).all())

    renamed = client.patch(url, json={"name": "Other"}, headers=headers)
    assert (renamed.status_code, renamed.json["hasClientSecret"], linked()) == (200, True, 1)
    moved = {"issuer": "https://203.0.114.9/other"}
    refused = client.patch(url, json=moved, headers=headers)
    assert refused.status_code == 422
    assert refused.json["errors"][0]["pointer"] == "#/clientSecret"
    assert linked() == 1
    done = client.patch(url, json={**moved, "clientSecret": None}, headers=headers)
    assert (done.status_code, done.json["hasClientSecret"], linked()) == (200, False, 0)


def test_names_are_unique_in_a_tenant_and_on_the_platform(
    client: FlaskClient, operator: Mapping[str, str], tenant: Tenant
) -> None:
    of_tenant = {**BODY, "tenantId": str(tenant.id)}
    for body in (BODY, of_tenant):
        assert client.post(PROVIDERS, json=body, headers=operator).status_code == 201
        again = client.post(PROVIDERS, json=body, headers=operator)
        assert (again.status_code, again.json["code"]) == (409, "provider_name_taken")


def test_only_who_has_all_rights_changes_a_provider(
    client: FlaskClient, app: Flask, operator: Mapping[str, str], database: Database
) -> None:
    """With a provider of his own he could be anybody, an administrator too."""
    rights = ["identity-providers:read", "identity-providers:write"]
    role = {"name": "clerk", "permissions": rights}
    assert client.post("/api/roles", json=role, headers=operator).status_code == 201
    clerk = factories.sign_in(app, factories.make_user(database, role="clerk"))
    refused = client.post(PROVIDERS, json=BODY, headers=clerk)
    assert (refused.status_code, refused.json["code"]) == (403, "permissions_not_held")
    url = f"{PROVIDERS}/{client.post(PROVIDERS, json=BODY, headers=operator).json['id']}"
    headers = {**clerk, **ANY}
    for answer in (
        client.patch(url, json={"issuer": "https://203.0.114.9/mine"}, headers=headers),
        client.put(url, json=BODY, headers=headers),
        client.delete(url, headers=headers),
    ):
        assert (answer.status_code, answer.json["code"]) == (403, "permissions_not_held")


def test_a_default_role_is_not_deleted_and_can_be_taken_away(
    client: FlaskClient, operator: Mapping[str, str], tenant: Tenant
) -> None:
    of_tenant = {"tenantId": str(tenant.id)}
    role = {"name": "reader", "permissions": ["usage:read"], **of_tenant}
    role_url = f"/api/roles/{client.post('/api/roles', json=role, headers=operator).json['id']}"
    made = client.post(
        PROVIDERS, json={**BODY, **of_tenant, "defaultRole": "reader"}, headers=operator
    )
    assert made.json["defaultRole"] == "reader"
    headers = {**operator, **ANY}
    assert client.delete(role_url, headers=headers).json["code"] == "role_in_use"
    url = f"{PROVIDERS}/{made.json['id']}"
    changed = client.patch(url, json={"defaultRole": None}, headers=headers)
    assert changed.json["defaultRole"] is None
    assert client.delete(role_url, headers=headers).status_code == 204
