"""Tenants through the API, on both databases: created, shown, listed, changed."""

import datetime
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, event

from control_plane.core import clock
from control_plane.core.database import Database
from tests import factories
from tests.factories import ANY


def test_a_tenant_is_created_shown_and_listed(
    client: FlaskClient, operator: dict[str, str]
) -> None:
    sent = {
        "name": "玉门医院",
        "contactPerson": "李医生",
        "contactEmail": "li@example.com",
        "contactPhone": "+86 10 1234",
        "timeZone": "Asia/Urumqi",
        "maxUsers": 3,
        "maxStorage": 500,
        "expiryDate": "2999-01-01T00:00:00+00:00",
    }
    created = client.post("/api/tenants", json=sent, headers=operator)
    assert created.status_code == 201
    assert {name: created.json[name] for name in sent} == sent
    assert (created.json["status"], created.json["purgeDate"]) == ("active", None)
    assert created.headers["Location"] == f"/api/tenants/{created.json['id']}"
    shown = client.get(created.headers["Location"], headers=operator)
    assert shown.json == created.json
    assert shown.headers["ETag"] == created.headers["ETag"]
    assert client.get("/api/tenants", headers=operator).json == [created.json]


def test_what_is_not_said_of_a_new_tenant_has_its_default(
    client: FlaskClient, operator: dict[str, str]
) -> None:
    created = client.post("/api/tenants", json={"name": "Acme"}, headers=operator).json
    assert created["timeZone"] == "Asia/Shanghai"
    assert created["domains"] == []
    configuration = created["configurations"]
    assert configuration["tenantId"] == created["id"]
    assert configuration["aiModelAccess"] == ["*"]
    assert configuration["featureFlags"] == configuration["uiTheme"] == {}
    assert configuration["apiCallLimits"] == {}


def test_put_replaces_and_patch_keeps_what_it_does_not_name(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    tenant = factories.make_tenant(database, name="Old", contact_person="Li", max_users=3)
    url = f"/api/tenants/{tenant.id}"
    seen = factories.if_match(client, url, operator)
    changed = client.patch(url, json={"name": "New", "maxUsers": None}, headers=seen)
    assert (changed.status_code, changed.json["name"]) == (200, "New")
    assert (changed.json["contactPerson"], changed.json["maxUsers"]) == ("Li", None)
    assert client.patch(url, json={"name": "Late"}, headers=seen).status_code == 412
    assert client.put(url, json={"name": "Bare"}, headers=operator).status_code == 428
    replaced = client.put(url, json={"name": "Bare"}, headers=operator | ANY)
    assert (replaced.json["name"], replaced.json["contactPerson"]) == ("Bare", None)
    for body in ({"configurations": {}}, {"status": "active"}, {"id": str(tenant.id)}):
        refused = client.put(url, json={"name": "x", **body}, headers=operator | ANY)
        assert refused.json["errors"][0]["pointer"] == f"#/{next(iter(body))}"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/name"),
        ({"name": ""}, "#/name"),
        ({"name": 7}, "#/name"),
        ({"name": "x", "maxUsers": "7"}, "#/maxUsers"),
        ({"name": "x", "maxUsers": -1}, "#/maxUsers"),
        ({"name": "x", "maxUsers": 2**40}, "#/maxUsers"),
        ({"name": "x", "contactEmail": "nobody"}, "#/contactEmail"),
        ({"name": "x", "expiryDate": "2026-01-01T00:00:00"}, "#/expiryDate"),
        ({"name": "x", "expiryDate": "2026-01-01T00:00:00Z"}, "#/expiryDate"),
        ({"name": "x", "expiryDate": "9999-12-31T23:59:59-23:00"}, "#/expiryDate"),
        ({"name": "x", "expiryDate": "0001-01-01T00:00:00+14:00"}, "#/expiryDate"),
        ({"name": "x", "timeZone": "Mars/Olympus"}, "#/timeZone"),
        ({"name": "x", "timeZone": "localtime"}, "#/timeZone"),
        ({"name": "x", "timeZone": "../etc/passwd"}, "#/timeZone"),
        ({"name": "x", "timeZone": None}, "#/timeZone"),
        ({"name": "x", "surprise": 1}, "#/surprise"),
        ({"name": "x", "status": "active"}, "#/status"),
        ({"name": "x", "domains": []}, "#/domains"),
        ({"name": "x", "configurations": {"featureFlags": {"a": 1}}}, "#/configurations/feature"),
        ({"name": "nul \x00"}, "#/name"),
        ({"name": "half \ud800"}, "#/name"),
        ({"name": "x", "configurations": {"uiTheme": {"\x00": "a"}}}, "#/configurations/uiTheme"),
    ],
)
def test_what_is_wrong_is_pointed_at(
    client: FlaskClient, operator: dict[str, str], body: dict[str, Any], pointer: str
) -> None:
    sent = {"data": json.dumps(body), "content_type": "application/json"}
    answer = client.post("/api/tenants", **sent, headers=operator)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
    assert [error["pointer"][: len(pointer)] for error in answer.json["errors"]] == [pointer]


def test_pages_of_a_list_say_where_they_stand(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    names = [factories.make_tenant(database).name for _ in range(5)]
    second = client.get("/api/tenants?page=2&pageSize=2", headers=operator)
    assert [tenant["name"] for tenant in second.json] == names[2:4]
    assert second.headers["X-Pagination"] == (
        '{"total": 5, "totalPages": 3, "firstPage": 1, "lastPage": 3,'
        ' "page": 2, "previousPage": 1, "nextPage": 3}'
    )
    assert client.get("/api/tenants?page=9", headers=operator).json == []
    for query in (
        "page=0",
        "pageSize=101",
        "page=x",
        "sort=maxUsers",
        f"page={10**30}",
        "page=1&page=2",
        "status=gone",
        "q=",
    ):
        refused = client.get(f"/api/tenants?{query}", headers=operator)
        assert refused.status_code == 422, query
        assert refused.json["errors"][0]["pointer"].startswith("?"), query


def test_a_list_is_filtered_and_sorted(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    soon, later = (clock.now() + datetime.timedelta(days=days) for days in (1, 2))
    factories.make_tenant(database, name="Beta 100%", expiry_date=later)
    alpha = factories.make_tenant(database, name="alpha", expiry_date=soon)
    factories.make_tenant(database, name="玉门 Beta")
    client.post(f"/api/tenants/{alpha.id}/suspend", headers=operator)

    def names(query: str) -> list[str]:
        return [each["name"] for each in client.get(f"/api/tenants?{query}", headers=operator).json]

    assert names("q=beta&sort=name") == ["Beta 100%", "玉门 Beta"]
    assert names("q=%25") == ["Beta 100%"]
    assert names("q=%E7%8E%89") == ["玉门 Beta"]
    assert names("status=suspended") == ["alpha"]
    assert names("sort=expiryDate") == ["alpha", "Beta 100%", "玉门 Beta"]
    assert names("sort=-status,-creationDate") == ["alpha", "玉门 Beta", "Beta 100%"]


def test_a_tenant_shows_its_domains_as_they_are_shown_by_themselves(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    tenant, other = factories.make_tenant(database), factories.make_tenant(database)
    url = f"/api/tenants/{tenant.id}"
    for name in ("b.example.com", "a.example.com"):
        client.post(f"{url}/domains", json={"domainName": name}, headers=operator)
    domains = client.get(f"{url}/domains", headers=operator).json
    assert [each["domainName"] for each in domains] == ["b.example.com", "a.example.com"]
    assert client.get(url, headers=operator).json["domains"] == domains
    listed = {each["id"]: each for each in client.get("/api/tenants", headers=operator).json}
    assert listed[str(tenant.id)]["domains"] == domains
    assert listed[str(other.id)]["domains"] == []


def test_a_page_takes_as_many_statements_as_a_single_tenant(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    def statements() -> int:
        counted: list[str] = []

        def count(_: Any, __: Any, statement: str, *___: Any) -> None:
            counted.append(statement)

        event.listen(Engine, "before_cursor_execute", count)
        try:
            assert client.get("/api/tenants?pageSize=100", headers=operator).status_code == 200
        finally:
            event.remove(Engine, "before_cursor_execute", count)
        return len(counted)

    factories.make_tenant(database)
    one = statements()
    for _ in range(20):
        factories.make_tenant(database)
    assert 0 < statements() <= one


def test_a_tenants_user_sees_his_own_tenant_and_changes_nothing(
    client: FlaskClient, tenant_admin: dict[str, str], tenant: Any, database: Database
) -> None:
    factories.make_tenant(database)
    listed = client.get("/api/tenants", headers=tenant_admin).json
    assert [each["id"] for each in listed] == [str(tenant.id)]
    for method in ("put", "patch", "delete"):
        send = getattr(client, method)
        answer = send(f"/api/tenants/{tenant.id}", json={"name": "x"}, headers=tenant_admin | ANY)
        assert (answer.status_code, answer.json["code"]) == (403, "permission_denied")
