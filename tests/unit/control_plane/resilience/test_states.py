"""What state circuit breakers are in, as the API shows it by what nodes tell."""

from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from control_plane.app import create_app
from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.core.settings import Settings, load_settings
from control_plane.resilience import plugin
from control_plane.tenants import Tenant
from tests import factories
from tests.nodes import TellingNode

URL = "/api/circuit-breakers"
UPSTREAM = {
    "name": "shop",
    "serverName": "shop.example.com",
    "targets": [{"host": "93.184.216.34", "port": 443}],
}


@pytest.fixture
def nodes(settings: Settings) -> Any:
    """Two nodes that are heard, and one that is silent."""
    with redis.Redis.from_url(settings.redis_url) as client:
        yield [TellingNode(client, name) for name in ("node-a", "node-b", "node-gone")]


def tell(nodes: list[TellingNode]) -> None:
    """Let the nodes tell what they know, the last one half a minute ago."""
    *heard, gone = nodes
    for node in heard:
        node.tell()
    gone.tell(gone.seen_at / -1000 + heard[0].seen_at / 1000 - 30)


@pytest.fixture
def breaker(client: FlaskClient, operator: dict[str, str]) -> str:
    """The URL of a circuit breaker."""
    made = client.post("/api/upstreams", json=UPSTREAM, headers=operator)
    assert made.status_code == 201, made.text
    made = client.post(URL, json={"serviceName": "shop"}, headers=operator)
    assert made.status_code == 201, made.text
    return str(made.headers["Location"])


def state(client: FlaskClient, url: str, headers: dict[str, str]) -> tuple[Any, Any, Any]:
    """Return what is shown of a breaker; the list must show the same."""
    one = client.get(url, headers=headers)
    (of_list,) = client.get(URL, headers=headers).json
    assert one.json == of_list
    return one.json["status"], one.json["lastStateChange"], one.json["reason"]


def test_the_nodes_say_what_state_it_is_in(
    client: FlaskClient, operator: dict[str, str], breaker: str, nodes: list[TellingNode]
) -> None:
    id_ = breaker.rpartition("/")[2]
    silent = "No gateway node is heard."
    assert state(client, breaker, operator) == (None, None, silent)
    nodes[2].breaker(id_, "open", reason="told by one that is gone")
    tell(nodes)
    assert state(client, breaker, operator) == ("closed", None, None)
    nodes[0].breaker(id_, "open", 1_700_000_000_250, "17 of 20 calls failed in 30 s, 12 timeouts")
    tell(nodes)
    assert state(client, breaker, operator) == (
        "open",
        "2023-11-14T22:13:20.250000+00:00",
        "17 of 20 calls failed in 30 s, 12 timeouts",
    )
    nodes[1].breaker(id_, "halfOpen", 1_700_000_001_250, "17 of 20 calls failed in 30 s")
    tell(nodes)
    half_open = state(client, breaker, operator)
    assert half_open[:2] == ("half-open", "2023-11-14T22:13:21.250000+00:00"), "one tries for all"
    for node, since in zip(nodes, (1_700_000_003_250, 1_700_000_002_250, 0), strict=True):
        node.breaker(id_, "closed", since, f"told by {node.name}")
    tell(nodes)
    assert state(client, breaker, operator) == (
        "closed",
        "2023-11-14T22:13:23.250000+00:00",
        "told by node-a",
    )


def test_what_nodes_say_changes_neither_etag_nor_what_can_be_set(
    client: FlaskClient, operator: dict[str, str], breaker: str, nodes: list[TellingNode]
) -> None:
    headers = factories.if_match(client, breaker, operator)
    nodes[0].breaker(breaker.rpartition("/")[2], "open")
    tell(nodes)
    answer = client.patch(breaker, json={"resetTimeout": 7}, headers=headers)
    assert (answer.status_code, answer.json["status"]) == (200, "open")
    headers["If-Match"] = "*"
    answer = client.patch(breaker, json={"status": "closed"}, headers=headers)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "#/status")


def test_the_mode_decides_before_the_nodes(
    client: FlaskClient, operator: dict[str, str], breaker: str, nodes: list[TellingNode]
) -> None:
    for mode, shown in (("forcedOpen", "open"), ("disabled", "closed")):
        headers = operator | {"If-Match": "*"}
        assert client.patch(breaker, json={"mode": mode}, headers=headers).json["status"] == shown
        assert state(client, breaker, operator) == (shown, None, f"Its mode is {mode}.")
        nodes[0].breaker(breaker.rpartition("/")[2], "halfOpen")
        tell(nodes)
        assert state(client, breaker, operator) == (shown, None, f"Its mode is {mode}.")


def test_a_report_that_is_none_is_passed_over(
    client: FlaskClient, operator: dict[str, str], breaker: str, nodes: list[TellingNode]
) -> None:
    id_ = breaker.rpartition("/")[2]
    tell(nodes)
    for unsound in (
        {id_: {"status": "ajar", "since": 1, "reason": ""}},
        {id_: {"status": "open", "since": "1", "reason": ""}},
        {id_: {"status": "open", "since": 1e30, "reason": ""}},
        {id_: []},
        [],
    ):
        nodes[0].breakers = unsound  # type: ignore[assignment]
        tell(nodes)
        assert state(client, breaker, operator) == ("closed", None, None), unsound


def test_without_redis_nobody_knows(
    client: FlaskClient, operator: dict[str, str], breaker: str, settings: Settings
) -> None:
    lonely = load_settings(
        state=settings.state,
        environ={
            "YUMEN_REDIS_URL": "redis://127.0.0.1:1/0",
            "YUMEN_DATABASE_URL": settings.database_url,
        },
    )
    app = create_app(lonely)
    there = app.test_client()
    away = "Redis, where nodes tell, cannot be reached."
    assert state(there, breaker, operator) == (None, None, away)
    answer = there.patch(breaker, json={"mode": "forcedOpen"}, headers=operator | {"If-Match": "*"})
    assert (answer.status_code, answer.json["status"]) == (200, "open"), answer.text
    app.extensions["yumen_database"].close()


def test_an_export_of_a_tenant_holds_no_state(
    client: FlaskClient, tenant: Tenant, tenant_admin: dict[str, str], database: Database
) -> None:
    assert client.post("/api/upstreams", json=UPSTREAM, headers=tenant_admin).status_code == 201
    answer = client.post(URL, json={"serviceName": "shop"}, headers=tenant_admin)
    assert answer.status_code == 201, answer.text
    with tenancy.platform_context(), database.session(write=False) as session:
        ((_, (exported,)),) = plugin.yumen_export_tenant(session, tenant.id)
    assert answer.json.keys() - exported.keys() == {"status", "lastStateChange", "reason"}
