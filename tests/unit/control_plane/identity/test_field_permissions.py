"""What roles keep of single fields: who sets it, when it acts, and that nobody gets around it."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.core.auth import Role
from control_plane.core.database import Database
from control_plane.tenants import Tenant
from tests import factories
from tests.factories import ANY

Headers = dict[str, str]
CONTACT = {
    "contactPerson": "张三",
    "contactEmail": "zhang@example.com",
    "contactPhone": "13800131234",
}
MASKED = {
    "contactPerson": "张*",
    "contactEmail": "z***@example.com",
    "contactPhone": "138****1234",
}
EDITOR = {
    "name": "editor",
    "permissions": ["tenants:read", "tenants:write", "users:read", "users:write", "roles:write"],
}


@pytest.fixture
def url(client: FlaskClient, operator: Headers, tenant: Tenant) -> str:
    """The URL of a tenant with contact data."""
    url = f"/api/tenants/{tenant.id}"
    assert client.patch(url, json=CONTACT, headers=operator | ANY).status_code == 200
    return url


@pytest.fixture
def make(
    app: Flask, client: FlaskClient, database: Database, operator: Headers
) -> Callable[..., tuple[Headers, str]]:
    """Make an editor from whom fields are kept; return his header and the URL of his role."""

    def make(**kept: str) -> tuple[Headers, str]:
        names = {name.replace("__", "."): access for name, access in kept.items()}
        body = {**EDITOR, "fieldPermissions": names}
        made = client.post("/api/roles", json=body, headers=operator)
        assert (made.status_code, made.json["fieldPermissions"]) == (201, names), made.text
        user = factories.make_user(database, role=EDITOR["name"])
        return factories.sign_in(app, user), made.headers["Location"]

    return make


@pytest.mark.parametrize("of_tenant", [True, False])
def test_viewers_see_contact_data_masked(
    app: Flask, client: FlaskClient, database: Database, tenant: Tenant, url: str, of_tenant: bool
) -> None:
    user = factories.make_user(database, tenant if of_tenant else None, Role.VIEWER)
    viewer = factories.sign_in(app, user)
    for shown in (
        client.get(url, headers=viewer).json,
        client.get("/api/tenants", headers=viewer).json[0],
    ):
        assert {name: shown[name] for name in CONTACT} == MASKED
    operating = factories.sign_in(app, factories.make_user(database, tenant, Role.OPERATOR))
    shown = client.get(url, headers=operating).json
    assert {name: shown[name] for name in CONTACT} == CONTACT


def test_a_viewer_does_not_find_people_by_what_he_sees_masked(
    app: Flask, client: FlaskClient, database: Database, operator: Headers
) -> None:
    person = {"username": "li", "email": "wang@example.com", "role": "viewer"}
    person["password"] = factories.PASSWORD
    assert client.post("/api/users", json=person, headers=operator).status_code == 201
    viewer = factories.sign_in(app, factories.make_user(database, role=Role.VIEWER))
    for text, found in (("wang", []), ("LI", ["w***@example.com"])):
        answer = client.get("/api/users", query_string={"q": text}, headers=viewer)
        assert [each["email"] for each in answer.json] == found
    assert len(client.get("/api/users?q=wang", headers=operator).json) == 1
    for order in ("email", "-email", "username,email"):
        answer = client.get("/api/users", query_string={"sort": order}, headers=viewer)
        assert (answer.status_code, answer.json["code"]) == (422, "field_not_permitted")
        assert [each["pointer"] for each in answer.json["errors"]] == ["?sort"]


def test_a_search_in_nothing_is_refused(
    client: FlaskClient, url: str, make: Callable[..., tuple[Headers, str]]
) -> None:
    editor, _ = make(tenant__name="none")
    answer = client.get("/api/tenants?q=Tenant", headers=editor)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "?q")
    assert "name" not in client.get(url, headers=editor).json


def test_a_changed_role_acts_on_the_next_request(
    client: FlaskClient, operator: Headers, url: str, make: Callable[..., tuple[Headers, str]]
) -> None:
    editor, role = make(tenant__contactEmail="none")
    assert "contactEmail" not in client.get(url, headers=editor).json
    kept = {"fieldPermissions": {"tenant.contactEmail": "masked"}}
    assert client.patch(role, json=kept, headers=operator | ANY).status_code == 200
    assert client.get(url, headers=editor).json["contactEmail"] == MASKED["contactEmail"]
    freed = {"fieldPermissions": {"tenant.contactEmail": None}}
    assert client.patch(role, json=freed, headers=operator | ANY).json["fieldPermissions"] == {}
    assert client.get(url, headers=editor).json["contactEmail"] == CONTACT["contactEmail"]


@pytest.mark.parametrize("access", ["none", "masked", "read"])
def test_what_cannot_be_written_is_neither_taken_nor_lost(
    client: FlaskClient,
    operator: Headers,
    url: str,
    make: Callable[..., tuple[Headers, str]],
    access: str,
) -> None:
    editor, _ = make(tenant__contactEmail=access)
    for method in ("put", "patch"):
        for value in (MASKED["contactEmail"], CONTACT["contactEmail"], "new@example.com", None):
            body = {"name": "Changed", "contactEmail": value}
            answer = getattr(client, method)(url, json=body, headers=editor | ANY)
            assert (answer.status_code, answer.json["code"]) == (422, "field_not_permitted")
            assert [each["pointer"] for each in answer.json["errors"]] == ["#/contactEmail"]
        answer = getattr(client, method)(url, json={"name": "Changed"}, headers=editor | ANY)
        assert answer.status_code == 200
        assert CONTACT["contactEmail"] not in answer.text or access == "read"
    stored = client.get(url, headers=operator).json
    assert (stored["name"], stored["contactEmail"]) == ("Changed", CONTACT["contactEmail"])
    assert stored["contactPhone"] is None


def test_parts_keep_their_own_fields(
    client: FlaskClient, url: str, make: Callable[..., tuple[Headers, str]]
) -> None:
    editor, _ = make(tenantConfiguration__uiTheme="none", domain__verificationRecord="none")
    added = client.post(f"{url}/domains", json={"domainName": "a.example.com"}, headers=editor)
    assert added.status_code == 403
    shown = client.get(url, headers=editor).json
    assert "uiTheme" not in shown["configurations"]
    assert "featureFlags" in shown["configurations"]
    body = {"name": "New", "configurations": {"uiTheme": {"colour": "red"}}}
    answer = client.post("/api/tenants", json=body, headers=editor)
    assert [each["pointer"] for each in answer.json["errors"]] == ["#/configurations/uiTheme"]


def test_a_tenants_domains_keep_theirs(
    client: FlaskClient, operator: Headers, url: str, make: Callable[..., tuple[Headers, str]]
) -> None:
    client.post(f"{url}/domains", json={"domainName": "a.example.com"}, headers=operator)
    editor, _ = make(domain__verificationRecord="none")
    for shown in (
        client.get(url, headers=editor).json,
        client.get("/api/tenants", headers=editor).json[0],
    ):
        assert [each["domainName"] for each in shown["domains"]] == ["a.example.com"]
        assert "verificationRecord" not in shown["domains"][0]


@pytest.mark.parametrize(
    ("kept", "pointer", "said"),
    [
        ({"tenant.colour": "read"}, "tenant.colour", "no such field"),
        ({"tenants.name": "read"}, "tenants.name", "no such field"),
        ({"tenant.id": "none"}, "tenant.id", "no such field"),
        ({"a/b~c": "none"}, "a~1b~0c", "no such field"),
        ({"tenant.name": "masked"}, "tenant.name", "none, read, write"),
        ({"tenant.name": "all"}, "tenant.name/value", "none"),
    ],
)
def test_what_is_wrong_is_pointed_at(
    client: FlaskClient, operator: Headers, kept: dict[str, Any], pointer: str, said: str
) -> None:
    body = {**EDITOR, "fieldPermissions": {**kept, "user.email": "masked"}}
    answer = client.post("/api/roles", json=body, headers=operator)
    assert answer.status_code == 422
    (error,) = answer.json["errors"]
    assert error["pointer"] == f"#/fieldPermissions/{pointer}"
    assert said in error["detail"]


def test_nobody_gives_himself_or_others_what_is_kept_from_him(
    client: FlaskClient, operator: Headers, make: Callable[..., tuple[Headers, str]]
) -> None:
    kept = {"user.email": "masked"}
    editor, role = make(user__email="masked")
    roles = "/api/roles"

    def role_of(**fields: str) -> dict[str, Any]:
        names = {name.replace("__", "."): access for name, access in fields.items()}
        return {"name": "other", "permissions": ["users:read"], "fieldPermissions": names}

    for body in (role_of(), role_of(user__email="read"), role_of(tenant__name="none")):
        answer = client.post(roles, json=body, headers=editor)
        assert (answer.status_code, answer.json["code"]) == (403, "permissions_not_held")
        assert "user.email" in answer.json["detail"]
    for access in ("masked", "none"):
        body = {**role_of(user__email=access), "name": access}
        assert client.post(roles, json=body, headers=editor).status_code == 201
    freed = client.patch(role, json={"fieldPermissions": {}}, headers=editor | ANY)
    assert freed.json["fieldPermissions"] == kept
    freed = client.patch(
        role, json={"fieldPermissions": {"user.email": None}}, headers=editor | ANY
    )
    assert (freed.status_code, freed.json["code"]) == (403, "permissions_not_held")
    person = {"username": "li", "password": factories.PASSWORD}
    answer = client.post("/api/users", json={**person, "role": "operator"}, headers=editor)
    assert answer.json["code"] == "permissions_not_held"
    answer = client.post("/api/users", json={**person, "role": "editor"}, headers=editor)
    assert answer.status_code == 201
    strong = client.post(
        "/api/users", json={**person, "username": "wang", "role": "operator"}, headers=operator
    ).json
    body = {"password": "another long one"}
    answer = client.patch(f"/api/users/{strong['id']}", json=body, headers=editor | ANY)
    assert answer.json["code"] == "permissions_not_held"


def test_a_replay_does_not_show_what_a_changed_role_hides(
    client: FlaskClient, operator: Headers, make: Callable[..., tuple[Headers, str]], tenant: Tenant
) -> None:
    editor, role = make()
    permissions = {"permissions": [*EDITOR["permissions"], "api-keys:write"]}
    client.patch(role, json=permissions, headers=operator | ANY)
    path = f"/api/tenants/{tenant.id}/api-keys"
    headers = editor | {"Idempotency-Key": "one"}
    assert "prefix" in client.post(path, json={"name": "k"}, headers=headers).json
    kept = {"fieldPermissions": {"apiKey.prefix": "none"}}
    assert client.patch(role, json=kept, headers=operator | ANY).status_code == 200
    again = client.post(path, json={"name": "k"}, headers=headers)
    assert (again.status_code, again.json["code"]) == (422, "idempotency_key_reused")
    assert len(client.get(path, headers=operator).json) == 1


def test_a_service_client_has_the_limits_of_its_role(
    client: FlaskClient, operator: Headers, url: str, make: Callable[..., tuple[Headers, str]]
) -> None:
    make(tenant__contactEmail="none")
    body = {"name": "nightly", "role": "editor"}
    made = client.post("/api/service-clients", json=body, headers=operator).json
    asked = {
        "grant_type": "client_credentials",
        "client_id": made["id"],
        "client_secret": made["clientSecret"],
    }
    token = client.post("/api/oauth/token", data=asked).json["access_token"]
    shown = client.get(url, headers={"Authorization": f"Bearer {token}"}).json
    assert "contactEmail" not in shown
    assert shown["contactPhone"] == CONTACT["contactPhone"]


def test_the_fields_that_can_be_named_are_listed(client: FlaskClient, operator: Headers) -> None:
    answer = client.get("/api/permissions/fields?pageSize=100", headers=operator)
    listed = {each["name"]: each["access"] for each in answer.json}
    pages = int(answer.headers["X-Pagination"].partition('"totalPages": ')[2][0])
    for page in range(2, pages + 1):
        path = f"/api/permissions/fields?pageSize=100&page={page}"
        listed |= {each["name"]: each["access"] for each in client.get(path, headers=operator).json}
    assert listed["tenant.contactEmail"] == ["none", "masked", "read", "write"]
    assert listed["tenant.name"] == listed["model.apiKey"] == ["none", "read", "write"]
    assert "tenant.id" not in listed
    assert list(listed) == sorted(listed)
