"""Circuit breakers in the API, and what gateways get of them."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from control_plane import contract
from control_plane.core import plugins, tenancy
from control_plane.core.database import Database
from control_plane.resilience import documents
from control_plane.resilience.models import CircuitBreaker
from control_plane.tenants import Tenant
from tests import factories

URL = "/api/circuit-breakers"
UPSTREAM = {
    "name": "shop",
    "serverName": "shop.example.com",
    "targets": [{"host": "93.184.216.34", "port": 443}],
}
DEFAULTS = {
    "endpoint": None,
    "mode": "auto",
    "failureThreshold": 50,
    "minimumCalls": 20,
    "windowSeconds": 30,
    "slowCallMilliseconds": None,
    "slowCallThreshold": 80,
    "consecutiveFailures": 5,
    "resetTimeout": 5,
    "maxResetTimeout": 60,
    "halfOpenPermits": 5,
    "countedStatuses": [500, 502, 503, 504],
}


@pytest.fixture
def upstream(client: FlaskClient, operator: dict[str, str]) -> str:
    """The key of an upstream that every tenant may use."""
    return make_upstream(client, operator, isShared=True)


def make_upstream(client: FlaskClient, headers: dict[str, str], **fields: Any) -> str:
    answer = client.post("/api/upstreams", json={**UPSTREAM, **fields}, headers=headers)
    assert answer.status_code == 201, answer.text
    return f"upstream:{answer.json['id']}"


def compiled(database: Database, service: str) -> Any:
    with tenancy.platform_context(), database.session(write=False) as session:
        document = documents.compile_breakers(session, [service])[service]
    if document is not None:
        assert contract.check("breakers", document) == {}
    return document


def test_each_verb_does_what_it_says(
    client: FlaskClient, operator: dict[str, str], upstream: str, database: Database
) -> None:
    made = client.post(URL, json={"serviceName": "shop"}, headers=operator)
    assert made.status_code == 201, made.text
    assert made.json == {
        "id": made.json["id"],
        "tenantId": None,
        "name": "shop",
        "serviceName": "shop",
        **DEFAULTS,
        "creationDate": made.json["creationDate"],
        "status": None,
        "lastStateChange": None,
        "reason": "No gateway node is heard.",
    }
    assert compiled(database, upstream) == {
        "breakers": [{"id": made.json["id"], "tenant": None, **DEFAULTS}]
    }
    url = made.headers["Location"]
    body = {"serviceName": upstream, "endpoint": "/cart", "slowCallMilliseconds": 900}
    assert client.put(url, json=body, headers=operator).status_code == 428
    headers = factories.if_match(client, url, operator)
    changed = client.put(url, json=body, headers=headers)
    assert (changed.status_code, changed.json["serviceName"]) == (200, "shop")
    assert client.put(url, json=body, headers=headers).status_code == 412
    headers = factories.if_match(client, url, operator)
    patched = client.patch(url, json={"mode": "forcedOpen"}, headers=headers)
    assert (patched.json["mode"], patched.json["endpoint"]) == ("forcedOpen", "/cart")
    (breaker,) = compiled(database, upstream)["breakers"]
    assert breaker == {
        "id": made.json["id"],
        "tenant": None,
        **DEFAULTS,
        "endpoint": "/cart",
        "slowCallMilliseconds": 900,
        "mode": "forcedOpen",
    }
    assert client.get(URL, headers=operator).json == [patched.json]
    headers = factories.if_match(client, url, operator)
    assert client.delete(url, headers=headers).status_code == 204
    assert client.get(url, headers=operator).status_code == 404
    assert compiled(database, upstream) is None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"serviceName": "nobody"}, "serviceName"),
    ({"serviceName": "upstream:x"}, "serviceName"),
    ({"serviceName": ""}, "serviceName"),
    ({"name": ""}, "name"),
    ({"endpoint": "cart"}, "endpoint"),
    ({"endpoint": "/a b"}, "endpoint"),
    ({"mode": "open"}, "mode"),
    ({"failureThreshold": 0}, "failureThreshold"),
    ({"failureThreshold": 101}, "failureThreshold"),
    ({"minimumCalls": 0}, "minimumCalls"),
    ({"windowSeconds": 61}, "windowSeconds"),
    ({"slowCallMilliseconds": 0}, "slowCallMilliseconds"),
    ({"slowCallThreshold": 0}, "slowCallThreshold"),
    ({"consecutiveFailures": 0}, "consecutiveFailures"),
    ({"resetTimeout": 0}, "resetTimeout"),
    ({"resetTimeout": 61}, "maxResetTimeout"),
    ({"maxResetTimeout": 3601}, "maxResetTimeout"),
    ({"halfOpenPermits": 0}, "halfOpenPermits"),
    ({"countedStatuses": [404]}, "countedStatuses"),
    ({"status": "closed"}, "status"),
]


@pytest.mark.usefixtures("upstream")
def test_what_cannot_be_is_named(client: FlaskClient, operator: dict[str, str]) -> None:
    for fields, name in WRONG:
        answer = client.post(URL, json={"serviceName": "shop", **fields}, headers=operator)
        assert answer.status_code == 422, fields
        pointers = [error["pointer"] for error in answer.json["errors"]]
        assert [each.startswith(f"#/{name}") for each in pointers] == [True], (fields, pointers)


def test_a_tenant_has_its_own_and_sees_no_others(
    client: FlaskClient,
    operator: dict[str, str],
    tenant_admin: dict[str, str],
    tenant: Tenant,
    upstream: str,
    database: Database,
) -> None:
    other = factories.make_tenant(database)
    hidden = [
        client.post(URL, json={"serviceName": "shop", "tenantId": owner}, headers=operator).headers[
            "Location"
        ]
        for owner in (None, str(other.id))
    ]
    mine = client.post(URL, json={"serviceName": "shop"}, headers=tenant_admin)
    assert mine.status_code == 201, mine.text
    assert (mine.json["tenantId"], mine.json["serviceName"]) == (str(tenant.id), "shop")
    assert client.get(URL, headers=tenant_admin).json == [mine.json]
    for url in hidden:
        assert client.get(url, headers=tenant_admin).status_code == 404
        headers = {**tenant_admin, **factories.ANY}
        assert client.delete(url, headers=headers).status_code == 404
    listed = client.get(f"{URL}?tenantId={tenant.id}", headers=operator).json
    assert listed == [mine.json]
    assert [each["tenant"] for each in compiled(database, upstream)["breakers"]] == [
        None,
        str(other.id),
        str(tenant.id),
    ]


def test_a_tenant_names_only_what_it_may_call(
    client: FlaskClient, operator: dict[str, str], tenant_admin: dict[str, str]
) -> None:
    key = make_upstream(client, operator)  # not shared
    for name in ("shop", key):
        answer = client.post(URL, json={"serviceName": name}, headers=tenant_admin)
        assert answer.status_code == 422, name


@pytest.mark.usefixtures("upstream")
def test_a_name_is_there_once_for_each_owner(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant
) -> None:
    body = {"serviceName": "shop"}
    for owner in (None, str(tenant.id)):
        answers = [
            client.post(URL, json={**body, "tenantId": owner}, headers=operator) for _ in range(2)
        ]
        assert [each.status_code for each in answers] == [201, 409]
        assert answers[1].json["code"] == "circuit_breaker_exists"


@pytest.mark.usefixtures("upstream")
def test_export_and_purge_take_a_tenants_breakers(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, database: Database
) -> None:
    for owner in (None, str(tenant.id)):
        body = {"serviceName": "shop", "tenantId": owner}
        assert client.post(URL, json=body, headers=operator).status_code == 201
    with tenancy.platform_context(), database.session(write=False) as session:
        rooms = plugins.manager().hook.yumen_export_tenant(session=session, tenant_id=tenant.id)
        rows = [row for room in rooms for kind, found in room if kind == "circuitBreaker"
                for row in found]  # fmt: skip
    assert [(row["tenantId"], row["serviceName"]) for row in rows] == [(str(tenant.id), "shop")]
    factories.purge_tenant(database, tenant)
    with tenancy.platform_context(), database.session(write=False) as session:
        assert [each.tenant_id for each in session.query(CircuitBreaker)] == [None]
