"""Upstreams in the API, and what gateways get of them."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from control_plane import contract, routing
from control_plane.core import plugins, tenancy
from control_plane.core.database import Database
from control_plane.core.outbox import OutboxEvent
from control_plane.routing import documents
from control_plane.routing.models import Upstream
from control_plane.tenants import Tenant
from tests import factories
from tests.unit.control_plane.routing.bodies import ROUTE, UPSTREAM

URL = "/api/upstreams"


def compiled(database: Database, upstream_id: str) -> Any:
    with tenancy.platform_context(), database.session(write=False) as session:
        document = documents.compile_upstreams(session, [upstream_id])[upstream_id]
    if document is not None:
        assert contract.check("upstreams", document) == {}
    return document


def test_a_tenants_user_manages_his_own(
    client: FlaskClient, tenant_admin: dict[str, str], tenant: Tenant, database: Database
) -> None:
    made = client.post(URL, json=UPSTREAM, headers=tenant_admin)
    assert made.status_code == 201
    assert made.json == {
        "id": made.json["id"],
        "tenantId": str(tenant.id),
        "name": "shop",
        "isShared": False,
        "scheme": "https",
        "passHost": "target",
        "host": None,
        "serverName": "shop.example.com",
        "balancing": "roundRobin",
        "hashOn": None,
        "targets": [{"host": "93.184.216.34", "port": 443, "weight": 1}],
        "service": None,
        "discovery": None,
        "healthCheck": None,
        "passive": None,
        "retries": {"attempts": 1, "statuses": "none"},
        "creationDate": made.json["creationDate"],
    }
    url = made.headers["Location"]
    headers = factories.if_match(client, url, tenant_admin)
    health = {"path": "/well", "interval": 2, "timeout": 0.5}
    body = {
        **UPSTREAM,
        "balancing": "consistentHash",
        "hashOn": {"source": "header", "name": "X-User"},
        "healthCheck": health,
        "passive": {},
    }
    changed = client.put(url, json=body, headers=headers)
    assert changed.status_code == 200, changed.text
    document = compiled(database, made.json["id"])
    assert document["tenant"] == str(tenant.id)
    assert document["hashOn"] == {"source": "header", "name": "x-user"}
    assert document["passive"] == {"failures": 5, "seconds": 10.0}
    assert document["healthCheck"] == {
        **health,
        "interval": 2.0,
        "healthyAfter": 2,
        "unhealthyAfter": 3,
        "statuses": [],
    }
    headers = factories.if_match(client, url, tenant_admin)
    patched = client.patch(url, json={"passive": None, "passHost": "client"}, headers=headers)
    assert (patched.json["passive"], patched.json["passHost"]) == (None, "client")
    headers = factories.if_match(client, url, tenant_admin)
    assert client.delete(url, headers=headers).status_code == 204
    assert compiled(database, made.json["id"]) is None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "a/b"}, "#/name"),
    ({"name": " a"}, "#/name"),
    ({"targets": []}, "#/targets"),
    ({"service": {"srv": "_http._tcp.example.com"}}, "#/targets"),
    ({"discovery": "x"}, "#/targets"),
    ({"targets": [], "discovery": "x"}, "#/discovery"),
    ({"targets": [], "service": {"srv": "x y"}}, "#/service/srv"),
    ({"targets": [{"host": "10.0.0.1", "port": 443}]}, "#/targets/0/host"),
    ({"targets": [*UPSTREAM["targets"], {"host": "::1", "port": 443}]}, "#/targets/1/host"),
    ({"targets": [{"host": "169.254.169.254", "port": 80}]}, "#/targets/0/host"),
    ({"targets": [{"host": "0x7f.1", "port": 443}]}, "#/targets/0/host"),
    ({"targets": [{"host": "a.example/x", "port": 443}]}, "#/targets/0/host"),
    ({"targets": [{"host": "a@b.example", "port": 443}]}, "#/targets/0/host"),
    ({"targets": [{"host": "a.example", "port": 22}]}, "#/targets/0/port"),
    ({"targets": [{"host": "a.example", "port": 0}]}, "#/targets/0/port"),
    ({"targets": [{"host": "a.example", "port": 443, "weight": 0}]}, "#/targets"),
    ({"targets": UPSTREAM["targets"] * 2}, "#/targets"),
    ({"scheme": "http", "serverName": None}, "#/targets/0/host"),
    ({"scheme": "http"}, "#/serverName"),
    ({"serverName": None}, "#/serverName"),
    ({"passHost": "fixed"}, "#/host"),
    ({"host": "a.example.com"}, "#/host"),
    ({"passHost": "fixed", "host": "a b"}, "#/host"),
    ({"balancing": "consistentHash"}, "#/hashOn"),
    ({"hashOn": {"source": "address"}}, "#/hashOn"),
    ({"balancing": "consistentHash", "hashOn": {"source": "cookie"}}, "#/hashOn/name"),
    ({"healthCheck": {"path": "x"}}, "#/healthCheck/path"),
    ({"healthCheck": {"interval": 1, "timeout": 2}}, "#/healthCheck/timeout"),
    ({"healthCheck": {"interval": "5"}}, "#/healthCheck/interval"),
    ({"retries": {"attempts": 6}}, "#/retries/attempts"),
    ({"retries": {"statuses": [503]}}, "#/retries/statuses"),
    ({"retries": {"statuses": "all"}}, "#/retries/statuses"),
    ({"retries": {"attempts": 0, "statuses": "unavailable"}}, "#/retries/statuses"),
    ({"isShared": True}, "#/isShared"),
    ({"passive": {"failures": 0}}, "#/passive/failures"),
]
"""What is wrong, and the field that is named for it."""


def test_what_cannot_be_is_named(client: FlaskClient, tenant_admin: dict[str, str]) -> None:
    for fields, pointer in WRONG:
        answer = client.post(URL, json={**UPSTREAM, **fields}, headers=tenant_admin)
        assert answer.status_code == 422, (fields, answer.text)
        assert [each["pointer"] for each in answer.json["errors"]] == [pointer], fields


def test_a_tenant_sees_of_shared_ones_that_they_are_there(
    client: FlaskClient, operator: dict[str, str], tenant_admin: dict[str, str], tenant: Tenant
) -> None:
    shared = client.post(URL, json={**UPSTREAM, "isShared": True}, headers=operator).json
    private = client.post(URL, json={**UPSTREAM, "name": "inner"}, headers=operator).json
    own = client.post(URL, json=UPSTREAM, headers=tenant_admin).json
    listed = client.get(URL, headers=tenant_admin).json
    assert {each["id"] for each in listed} == {shared["id"], own["id"]}
    seen = client.get(f"{URL}/{shared['id']}", headers=tenant_admin)
    assert seen.json == {
        name: shared[name] for name in ("id", "tenantId", "name", "isShared", "creationDate")
    }
    for method in ("put", "patch", "delete"):
        answer = getattr(client, method)(
            f"{URL}/{shared['id']}",
            headers={**tenant_admin, **factories.ANY},
            **({} if method == "delete" else {"json": UPSTREAM}),
        )
        assert answer.status_code == 404, method
    assert client.get(f"{URL}/{private['id']}", headers=tenant_admin).status_code == 404
    assert len(client.get(URL, headers=operator).json) == 3
    of_tenant = client.get(f"{URL}?tenantId={tenant.id}", headers=operator).json
    assert [each["id"] for each in of_tenant] == [own["id"]]


def test_what_routes_lead_to_stays(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant
) -> None:
    headers = {**operator, **factories.ANY}
    shared = client.post(URL, json={**UPSTREAM, "isShared": True}, headers=operator).json
    url = f"{URL}/{shared['id']}"
    routes = f"/api/tenants/{tenant.id}/routes"
    route = client.post(routes, json={**ROUTE, "upstream": shared["id"]}, headers=operator)
    assert route.status_code == 201
    for answer in (
        client.delete(url, headers=headers),
        client.patch(url, json={"isShared": False}, headers=headers),
    ):
        assert (answer.status_code, answer.json["code"]) == (409, "upstream_in_use")
    client.delete(route.headers["Location"], headers=headers)
    assert client.patch(url, json={"isShared": False}, headers=headers).status_code == 200
    assert client.delete(url, headers=headers).status_code == 204


def test_names_are_there_once_for_each_owner(
    client: FlaskClient, operator: dict[str, str], tenant_admin: dict[str, str]
) -> None:
    for headers in (operator, tenant_admin):
        assert client.post(URL, json=UPSTREAM, headers=headers).status_code == 201
        again = client.post(URL, json=UPSTREAM, headers=headers)
        assert (again.status_code, again.json["code"]) == (409, "upstream_name_taken")


def test_one_host_name_is_the_name_that_tls_proves(
    client: FlaskClient, operator: dict[str, str], database: Database
) -> None:
    targets = [{"host": "App.Example.com", "port": port} for port in (443, 8443)]
    body = {"name": "app", "targets": targets}
    made = client.post(URL, json=body, headers=operator).json
    assert made["serverName"] is None
    assert compiled(database, made["id"])["serverName"] == "app.example.com"


class Registry:
    """A plugin that knows the targets of some names."""

    def __init__(self) -> None:
        self.known: dict[str, list[dict[str, Any]]] = {"web": [{"host": "10.1.1.1", "port": 80}]}
        self.asked: list[tuple[str, Any]] = []

    @plugins.hookimpl
    def yumen_upstream_targets(
        self, session: Any, discovery: str, tenant_id: Any
    ) -> list[dict[str, Any]] | None:
        assert session is not None
        self.asked.append((discovery, tenant_id))
        return self.known.get(discovery)


@pytest.fixture
def registry() -> Iterator[Registry]:
    plugin = Registry()
    plugins.manager().register(plugin)
    yield plugin
    plugins.manager().unregister(plugin)


def test_a_plugin_knows_targets(
    client: FlaskClient, tenant_admin: dict[str, str], tenant: Tenant, database: Database,
    registry: Registry,
) -> None:  # fmt: skip
    body = {"name": "web", "scheme": "http", "discovery": "web"}
    made = client.post(URL, json=body, headers=tenant_admin)
    assert made.status_code == 201, made.text
    assert registry.asked[0] == ("web", tenant.id)
    upstream_id = made.json["id"]
    assert compiled(database, upstream_id)["targets"] == [
        {"host": "10.1.1.1", "port": 80, "weight": 1}
    ]
    registry.known["web"] = [{"host": "10.1.1.2", "port": 80, "weight": 5}]
    with tenancy.platform_context(), database.transaction() as session:
        session.query(OutboxEvent).delete()
        routing.targets_changed(session, "web")
        routing.targets_changed(session, "another")
    with tenancy.platform_context(), database.session(write=False) as session:
        (event,) = session.query(OutboxEvent).all()
        assert list(documents.UPSTREAMS.dirty[event.name](event.payload)) == [upstream_id]
    assert compiled(database, upstream_id)["targets"] == registry.known["web"]
    del registry.known["web"]
    assert compiled(database, upstream_id)["targets"] == []


def test_a_purge_takes_routes_and_upstreams_with_it(
    client: FlaskClient, operator: dict[str, str], tenant: Tenant, database: Database,
    upstream_id: str,
) -> None:  # fmt: skip
    url = f"/api/tenants/{tenant.id}/routes"
    made = client.post(url, json={**ROUTE, "upstream": upstream_id}, headers=operator)
    assert made.status_code == 201
    factories.purge_tenant(database, tenant)
    with tenancy.platform_context(), database.session(write=False) as session:
        assert session.query(Upstream).count() == 0
