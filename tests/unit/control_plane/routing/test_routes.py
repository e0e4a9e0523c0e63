"""A tenant's routes in the API, and what gateways get of them."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from control_plane import contract
from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.routing import documents
from control_plane.routing.service import routes as service
from control_plane.tenants import Tenant
from tests import factories
from tests.unit.control_plane.routing.bodies import ROUTE, UPSTREAM


@pytest.fixture
def url(tenant: Tenant) -> str:
    return f"/api/tenants/{tenant.id}/routes"


@pytest.fixture
def body(upstream_id: str) -> dict[str, Any]:
    return {**ROUTE, "upstream": upstream_id}


def compiled(database: Database, tenant: Tenant) -> Any:
    with tenancy.platform_context(), database.session(write=False) as session:
        document = documents.compile_routes(session, [str(tenant.id)])[str(tenant.id)]
    if document is not None:
        assert contract.check("routes", document) == {}
    return document


def test_a_tenants_user_manages_his_own(
    client: FlaskClient, tenant_admin: dict[str, str], tenant: Tenant, database: Database,
    url: str, body: dict[str, Any],
) -> None:  # fmt: skip
    made = client.post(url, json=body, headers=tenant_admin)
    assert made.status_code == 201, made.text
    route = {
        "name": "shop",
        "priority": 0,
        "domains": [],
        "path": {"kind": "prefix", "value": "/shop"},
        "methods": None,
        "headers": [],
        "upstream": body["upstream"],
        "stripPrefix": False,
        "rewrite": None,
        "requestHeaders": {"set": {}, "remove": []},
        "responseHeaders": {"set": {}, "remove": []},
        "maxRequestBytes": None,
        "maxResponseBytes": None,
        "timeouts": {
            "connect": 5.0,
            "send": 60.0,
            "firstByte": 60.0,
            "betweenBytes": 60.0,
            "total": None,
        },
        "webSocket": {"enabled": False, "maxAge": None},
        "cors": None,
        "allowAddresses": [],
        "denyAddresses": [],
        "authentication": ["key", "jwt"],
    }
    assert made.json == {
        **route,
        "id": made.json["id"],
        "tenantId": str(tenant.id),
        "isActive": True,
        "creationDate": made.json["creationDate"],
    }
    assert compiled(database, tenant) == {"routes": [{"id": made.json["id"], **route}]}
    place = made.headers["Location"]
    headers = factories.if_match(client, place, tenant_admin)
    full = {
        **body,
        "methods": ["GET"],
        "rewrite": {"pattern": "/shop/([^/]+)", "replacement": "/$1/shop"},
        "requestHeaders": {"set": {"X-Shop": "1"}, "remove": ["Cookie"]},
        "timeouts": {"total": 2.5},
        "webSocket": {"enabled": True},
        "cors": {"allowOrigins": ["https://shop.example.com"], "allowCredentials": True},
        "allowAddresses": ["203.0.113.7", "2001:db8::/32"],
        "authentication": [],
        "maxRequestBytes": 1000,
    }
    changed = client.put(place, json=full, headers=headers)
    assert changed.status_code == 200, changed.text
    (document,) = compiled(database, tenant)["routes"]
    assert document["rewrite"] == {**full["rewrite"], "path": None}
    assert document["allowAddresses"] == ["203.0.113.7/32", "2001:db8::/32"]
    assert document["timeouts"]["total"] == 2.5
    assert document["cors"]["maxAge"] == 600
    headers = factories.if_match(client, place, tenant_admin)
    patched = client.patch(
        place, json={"cors": None, "requestHeaders": {"set": {"X-Shop": None}}}, headers=headers
    )
    assert patched.json["cors"] is None
    assert patched.json["requestHeaders"] == {"set": {}, "remove": ["Cookie"]}
    headers = factories.if_match(client, place, tenant_admin)
    assert client.patch(place, json={"isActive": False}, headers=headers).status_code == 200
    assert compiled(database, tenant) is None
    headers = factories.if_match(client, place, tenant_admin)
    assert client.delete(place, headers=headers).status_code == 204
    assert client.get(url, headers=tenant_admin).json == []


def path(kind: str, value: str) -> dict[str, Any]:
    return {"path": {"kind": kind, "value": value}}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "a/b"}, "#/name"),
    ({"name": "问" * 61}, "#/name"),
    (path("prefix", "shop"), "#/path/value"),
    (path("exact", "/a?b"), "#/path/value"),
    (path("exact", "/a%20b"), "#/path/value"),
    (path("exact", "/a//b"), "#/path/value"),
    (path("prefix", "/a/../b"), "#/path/value"),
    (path("prefix", "/v1"), "#/path/value"),
    (path("prefix", "/v1/chat"), "#/path/value"),
    (path("exact", "/.well-known/yumen"), "#/path/value"),
    (path("exact", "/.yumen/error"), "#/path/value"),
    (path("exact", "/livez"), "#/path/value"),
    (path("regex", "/(a+)+"), "#/path/value"),
    (path("regex", ".*"), "#/path/value"),
    (path("glob", "/a"), "#/path/kind"),
    ({"methods": []}, "#/methods"),
    ({"methods": ["get"]}, "#/methods/0"),
    ({"methods": ["CONNECT"]}, "#/methods/0"),
    ({"headers": [{"name": "X A"}]}, "#/headers/0/name"),
    ({"headers": [{"name": "X-A"}, {"name": "x-a"}]}, "#/headers"),
    ({"upstream": "0198c0de-0000-7000-8000-000000000001"}, "#/upstream"),
    ({"stripPrefix": True, **path("exact", "/a")}, "#/stripPrefix"),
    ({"stripPrefix": True, "rewrite": {"path": "/x"}}, "#/rewrite"),
    ({"rewrite": {}}, "#/rewrite/path"),
    ({"rewrite": {"path": "/x", "pattern": "/y"}}, "#/rewrite/path"),
    ({"rewrite": {"pattern": "/y"}}, "#/rewrite/replacement"),
    ({"rewrite": {"pattern": "/.*x", "replacement": "/"}}, "#/rewrite/pattern"),
    ({"rewrite": {"pattern": "/(a)", "replacement": "/$2"}}, "#/rewrite/replacement"),
    ({"rewrite": {"pattern": "/(a)", "replacement": "$1"}}, "#/rewrite/replacement"),
    ({"rewrite": {"pattern": "/(a)", "replacement": "/${x}"}}, "#/rewrite/replacement"),
    ({"requestHeaders": {"set": {"Host": "x"}}}, "#/requestHeaders/set"),
    ({"requestHeaders": {"set": {"X-Forwarded-For": "x"}}}, "#/requestHeaders/set"),
    ({"requestHeaders": {"remove": ["transfer-encoding"]}}, "#/requestHeaders/remove"),
    ({"requestHeaders": {"set": {"A": "1", "a": "2"}}}, "#/requestHeaders/set"),
    ({"requestHeaders": {"set": {"A": "1\r\nB: 2"}}}, "#/requestHeaders/set/A/value"),
    ({"responseHeaders": {"set": {"X-Yumen-Degraded": "x"}}}, "#/responseHeaders/set"),
    ({"responseHeaders": {"set": {"Content-Length": "1"}}}, "#/responseHeaders/set"),
    ({"maxRequestBytes": 2**40}, "#/maxRequestBytes"),
    ({"maxResponseBytes": -1}, "#/maxResponseBytes"),
    ({"timeouts": {"connect": 0}}, "#/timeouts/connect"),
    ({"timeouts": {"total": True}}, "#/timeouts/total"),
    ({"webSocket": {"maxAge": 0}}, "#/webSocket/maxAge"),
    ({"cors": {"allowOrigins": ["https://a.example/x"]}}, "#/cors/allowOrigins/0"),
    ({"cors": {"allowOrigins": ["*"], "allowCredentials": True}}, "#/cors/allowOrigins"),
    ({"allowAddresses": ["10.0.0.1/8"]}, "#/allowAddresses/0"),
    ({"authentication": ["basic"]}, "#/authentication/0"),
    ({"domains": ["other.example.com"]}, "#/domains/0"),
    ({"priority": 1001}, "#/priority"),
]
"""What is wrong, and the field that is named for it."""


def test_what_cannot_be_is_named(
    client: FlaskClient, tenant_admin: dict[str, str], url: str, body: dict[str, Any]
) -> None:
    for fields, pointer in WRONG:
        answer = client.post(url, json={**body, **fields}, headers=tenant_admin)
        assert answer.status_code == 422, (fields, answer.text)
        assert [each["pointer"] for each in answer.json["errors"]] == [pointer], fields


def test_a_route_leads_to_its_tenants_upstreams_and_shared_ones_only(
    client: FlaskClient, operator: dict[str, str], database: Database, url: str,
    body: dict[str, Any], tenant_admin: dict[str, str],
) -> None:  # fmt: skip
    other = {**UPSTREAM, "tenantId": str(factories.make_tenant(database).id)}
    for made, taken in ((other, False), (UPSTREAM, False), ({**UPSTREAM, "isShared": True}, True)):
        named = {**made, "name": f"named-{taken}-{len(made)}"}
        upstream = client.post("/api/upstreams", json=named, headers=operator).json["id"]
        for headers in (operator, tenant_admin):
            route = {**body, "name": upstream[-12:] + headers["Authorization"][-5:]}
            answer = client.post(url, json={**route, "upstream": upstream}, headers=headers)
            assert answer.status_code == (201 if taken else 422), answer.text


def test_routes_stand_in_the_order_in_which_they_are_asked(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, database: Database, url: str,
    body: dict[str, Any],
) -> None:  # fmt: skip
    domains = f"/api/tenants/{tenant.id}/domains"
    client.post(domains, json={"domainName": "a.example.com"}, headers=operator)
    asked = [
        ("exact, urgent", {"priority": 5, **path("exact", "/z")}),
        ("exact", path("exact", "/a/b/c/d")),
        ("urgent pattern", {"priority": 9, **path("regex", "/x[0-9]+")}),
        ("urgent", {"priority": 9 - 1, **path("prefix", "/")}),
        ("long", path("prefix", "/a/b/c")),
        ("header", {"headers": [{"name": "X-A", "value": "1"}], **path("prefix", "/a/b")}),
        ("method", {"methods": ["GET"], **path("prefix", "/a/b")}),
        ("domain", {"domains": ["a.example.com"], **path("prefix", "/a/b")}),
        ("short", path("prefix", "/a/b")),
        ("root", path("prefix", "/")),
        ("pattern", path("regex", "/x[0-9]+")),
        ("late", {"priority": -1, **path("prefix", "/a/b/c/d/e")}),
    ]
    for name, fields in reversed(asked):
        answer = client.post(url, json={**body, **fields, "name": name}, headers=operator)
        assert answer.status_code == 201, answer.text
    assert [each["name"] for each in compiled(database, tenant)["routes"]] == [
        name for name, _ in asked
    ]


def test_a_tenant_has_not_too_many_or_too_long_ones(
    client: FlaskClient, operator: dict[str, str], url: str, body: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(service, "MOST_ROUTES", 3)
    monkeypatch.setattr(service, "MOST_PATTERNS", 1)

    def made(name: str, **fields: Any) -> str:
        answer = client.post(url, json={**body, "name": name, **fields}, headers=operator)
        return str((answer.json or {}).get("code", answer.status_code))

    assert made("a", **path("regex", "/a")) == "201"
    assert made("a") == "route_name_taken"
    assert made("b", **path("regex", "/b")) == "too_many_routes"
    assert [made("c"), made("d"), made("e")] == ["201", "201", "too_many_routes"]
    monkeypatch.setattr(service, "MOST_ROUTES", 4)
    monkeypatch.setattr(service, "MOST_BYTES", 3000)
    assert made("f", requestHeaders={"set": {"X-Long": "x" * 1000}}) == "routes_too_long"


def test_viewers_see_and_do_not_change(
    client: FlaskClient, tenant: Tenant, database: Database, url: str, body: dict[str, Any]
) -> None:
    for role, status in (("viewer", 403), ("operator", 201)):
        headers = factories.sign_in(client.application, factories.make_user(database, tenant, role))
        assert client.get(url, headers=headers).status_code == 200
        assert client.post(url, json=body, headers=headers).status_code == status
