"""Limits in the API."""

import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient

from control_plane.core.database import Database
from control_plane.tenants import Tenant
from tests import factories
from tests.unit.control_plane.routing.bodies import ROUTE, UPSTREAM

URL = "/api/limits"
BODY = {"name": "all requests", "scope": ["tenant"], "limit": 100, "window": "minute"}
NO_MATCH = {"key": None, "user": None, "route": None, "model": None}


def make(
    client: FlaskClient, headers: Mapping[str, str], tenant: Tenant | None, **fields: Any
) -> Any:
    whose = {} if tenant is None else {"tenantId": str(tenant.id)}
    return client.post(URL, json={**BODY, **whose, **fields}, headers=headers)


def make_key(client: FlaskClient, headers: Mapping[str, str], tenant: Tenant) -> str:
    url = f"/api/tenants/{tenant.id}/api-keys"
    return str(client.post(url, json={"name": "key"}, headers=headers).json["id"])


def test_an_operator_makes_changes_and_deletes_a_limit(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant
) -> None:
    made = make(client, operator, tenant)
    assert made.status_code == 201, made.text
    assert made.json == {
        "id": made.json["id"],
        "tenantId": str(tenant.id),
        **BODY,
        "match": NO_MATCH,
        "meter": "requests",
        "burst": None,
        "onOutage": "local",
        "isActive": True,
        "creationDate": made.json["creationDate"],
    }
    url = made.headers["Location"]
    assert client.get(url, headers=operator).json == made.json
    headers = factories.if_match(client, url, operator)
    put = {**BODY, "limit": 0, "match": {"route": "/v1/embeddings"}, "onOutage": "closed"}
    changed = client.put(url, json=put, headers=headers)
    assert (changed.status_code, changed.json["limit"]) == (200, 0)
    assert changed.json["match"] == {**NO_MATCH, "route": "/v1/embeddings"}
    headers = factories.if_match(client, url, operator)
    patched = client.patch(url, json={"match": {"route": None, "user": "li"}}, headers=headers)
    assert patched.json["match"] == {**NO_MATCH, "user": "li"}
    assert patched.json["onOutage"] == "closed"
    listed = client.get(f"{URL}?tenantId={tenant.id}&q=ALL&sort=-name", headers=operator)
    assert [each["id"] for each in listed.json] == [made.json["id"]]
    headers = factories.if_match(client, url, operator)
    assert client.delete(url, headers=headers).status_code == 204
    assert client.get(url, headers=operator).status_code == 404


def test_a_tenant_sees_its_limits_and_cannot_change_them(
    client: FlaskClient,
    operator: dict[str, str],
    tenant_admin: dict[str, str],
    tenant: Tenant,
    database: Database,
) -> None:
    url = make(client, operator, tenant).headers["Location"]
    others = make(client, operator, factories.make_tenant(database)).headers["Location"]
    everybodys = make(client, operator, None).headers["Location"]
    listed = client.get(URL, headers=tenant_admin)
    assert [each["tenantId"] for each in listed.json] == [str(tenant.id)]
    assert client.get(url, headers=tenant_admin).status_code == 200
    for hidden in (others, everybodys):
        assert client.get(hidden, headers=tenant_admin).status_code == 404
    headers = {**tenant_admin, **factories.ANY}
    assert make(client, tenant_admin, tenant).status_code == 403
    assert client.put(url, json=BODY, headers=headers).status_code == 403
    assert client.patch(url, json={"limit": 10**9}, headers=headers).status_code == 403
    assert client.delete(url, headers=headers).status_code == 403


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "#/name"),
    ({"name": "a\nb"}, "#/name"),
    ({"scope": []}, "#/scope"),
    ({"scope": ["tenant", "tenant"]}, "#/scope"),
    ({"scope": ["everybody"]}, "#/scope/0"),
    ({"scope": ["platform", "key"]}, "#/scope"),
    ({"scope": ["platform"]}, "#/scope"),
    ({"limit": -1}, "#/limit"),
    ({"limit": 2**53 + 1}, "#/limit"),
    ({"limit": "10"}, "#/limit"),
    ({"limit": 1.5}, "#/limit"),
    ({"limit": None}, "#/limit"),
    ({"meter": "money"}, "#/meter"),
    ({"window": "week"}, "#/window"),
    ({"window": None}, "#/window"),
    ({"meter": "concurrency"}, "#/window"),
    ({"meter": "concurrency", "window": None, "burst": 5}, "#/burst"),
    ({"burst": 0}, "#/burst"),
    ({"burst": 5, "window": "day"}, "#/burst"),
    ({"burst": 5, "window": "month"}, "#/burst"),
    ({"burst": 5, "limit": 0}, "#/burst"),
    ({"onOutage": "guess"}, "#/onOutage"),
    ({"match": {"tenant": "x"}}, "#/match/tenant"),
    ({"match": {"key": "x"}}, "#/match/key"),
    ({"match": {"key": str(uuid.uuid4())}}, "#/match/key"),
    ({"match": {"user": ""}}, "#/match/user"),
    ({"match": {"route": "/v1/unknown"}}, "#/match/route"),
    ({"match": {"route": str(uuid.uuid4())}}, "#/match/route"),
    ({"match": {"model": str(uuid.uuid4())}}, "#/match/model"),
    ({"match": []}, "#/match"),
    ({"unknown": 1}, "#/unknown"),
]


def test_what_cannot_be_is_named(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant
) -> None:
    for fields, pointer in WRONG:
        answer = make(client, operator, tenant, **fields)
        assert answer.status_code == 422, f"{fields}: {answer.text}"
        assert [each["pointer"] for each in answer.json["errors"]] == [pointer], fields


@pytest.mark.parametrize("match", [{"user": "li"}, {"key": str(uuid.uuid4())}])
def test_what_belongs_to_a_tenant_is_matched_in_a_tenants_limit_only(
    client: FlaskClient, operator: dict[str, str], match: dict[str, str]
) -> None:
    answer = make(client, operator, None, scope=["platform"], match=match)
    (error,) = answer.json["errors"]
    assert error["pointer"] == f"#/match/{next(iter(match))}"
    assert "tenantId" in error["detail"]
    route = {"route": "/v1/embeddings"}
    assert make(client, operator, None, scope=["platform"], match=route).status_code == 201


def test_a_key_must_be_the_tenants_own_and_may_go_later(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, database: Database
) -> None:
    other = make_key(client, operator, factories.make_tenant(database))
    assert make(client, operator, tenant, match={"key": other}).status_code == 422
    issuer = {"issuer": "https://93.184.216.34", "audiences": ["ai"]}
    issuers = f"/api/tenants/{tenant.id}/issuers"
    found = client.post(issuers, json=issuer, headers=operator).json["id"]
    assert make(client, operator, tenant, match={"key": found}, name="i").status_code == 201
    key = make_key(client, operator, tenant)
    url = make(client, operator, tenant, match={"key": key.upper()}).headers["Location"]
    assert client.get(url, headers=operator).json["match"]["key"] == key
    gone = f"/api/tenants/{tenant.id}/api-keys/{key}"
    assert client.delete(gone, headers={**operator, **factories.ANY}).status_code == 204
    headers = {**operator, **factories.ANY}
    assert client.patch(url, json={"limit": 5}, headers=headers).status_code == 200


def test_a_route_must_be_the_tenants_own(
    client: FlaskClient, database: Database, operator: dict[str, str], tenant: Tenant
) -> None:
    other = factories.make_tenant(database)
    upstream = client.post("/api/upstreams", json={**UPSTREAM, "isShared": True}, headers=operator)
    route = client.post(
        f"/api/tenants/{tenant.id}/routes",
        json={**ROUTE, "upstream": upstream.json["id"]},
        headers=operator,
    )
    match = {"route": route.json["id"]}
    assert make(client, operator, tenant, match=match).json["match"] == {**NO_MATCH, **match}
    refused = make(client, operator, other, match=match)
    assert refused.status_code == 422
    assert refused.json["errors"][0]["pointer"] == "#/match/route"


def test_names_are_unique_in_a_tenant_and_on_the_platform(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, database: Database
) -> None:
    for whose in (tenant, factories.make_tenant(database), None):
        assert make(client, operator, whose).status_code == 201
        assert make(client, operator, whose).json["code"] == "limit_name_taken"


def test_there_are_not_too_many(
    client: FlaskClient, operator: dict[str, str], monkeypatch: pytest.MonkeyPatch, tenant: Tenant
) -> None:
    monkeypatch.setattr("control_plane.limits.service.MOST_LIMITS", 2)
    for name in ("a", "b"):
        assert make(client, operator, tenant, name=name).status_code == 201
        assert make(client, operator, None, name=name).status_code == 201
    for whose in (tenant, None):
        answer = make(client, operator, whose, name="c")
        assert (answer.status_code, answer.json["code"]) == (409, "too_many_limits")
