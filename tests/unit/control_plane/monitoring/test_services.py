"""`GET /api/monitor/services`: who sees what of how services do."""

import json
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from control_plane.app import create_app
from control_plane.contract import keys
from control_plane.core import clock, heartbeats
from control_plane.core.settings import Settings, load_settings
from control_plane.monitoring import Readings, run_summing_up, summary
from control_plane.tenants import Tenant
from tests.nodes import TellingNode
from tests.operations import MODEL
from tests.servers import RedisServer
from tests.stack import until

URL = "/api/monitor/services"
BREAKER = "99999999-2222-4333-8444-555555555555"


@pytest.fixture
def redis_client(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.redis_url) as client:
        yield client


@pytest.fixture
def node(redis_client: redis.Redis) -> TellingNode:
    return TellingNode(redis_client)


def upstream(client: FlaskClient, headers: dict[str, str], name: str, **fields: Any) -> str:
    """Make an upstream; return its id."""
    target = {"host": "93.184.216.34", "port": 443}
    body = {"name": name, "serverName": "shop.example.com", "targets": [target], **fields}
    answer = client.post("/api/upstreams", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])


def model(client: FlaskClient, headers: dict[str, str], tenant: Tenant | None = None) -> str:
    """Make a model that a tenant may call; return its id."""
    made = client.post("/api/models", json=MODEL, headers=headers)
    assert made.status_code == 201, made.text
    if tenant is not None:
        terms = {"modelId": made.json["id"]}
        url = f"/api/tenants/{tenant.id}/models"
        assert client.post(url, json=terms, headers=headers).status_code == 201
    return str(made.json["id"])


def configure(client: redis.Redis, service: str, **fields: Any) -> None:
    """Publish one breaker of a service."""
    breaker = {"id": BREAKER, "mode": "auto", "tenant": None, "endpoint": None, **fields}
    text = json.dumps({"epoch": 1, "rev": 1, "doc": {"breakers": [breaker]}})
    client.hset(keys.config_section("breakers"), service, text)


def tell(client: redis.Redis, node: TellingNode, service: str = "", **numbers: int) -> None:
    """Let the node count something in a second, and a worker sum it up."""
    node.services.clear()
    node.count(service or "other", **dict.fromkeys(numbers, 0))
    node.tell()
    readings = Readings(client)
    readings.read()
    node.count(service or "other", **numbers)
    node.tell()
    summary.write(client, readings)


def shown(client: FlaskClient, headers: dict[str, str], query: str = "") -> dict[str, Any]:
    """Return what is shown, by its id."""
    answer = client.get(f"{URL}?pageSize=100&{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    found = {each["id"]: each for each in answer.json}
    assert len(found) == len(answer.json)
    return found


def test_the_platform_sees_all_parts_and_services(
    client: FlaskClient, operator: dict[str, str], node: TellingNode, redis_client: redis.Redis
) -> None:
    model_id, shop = model(client, operator), upstream(client, operator, "shop")
    heartbeats.beat(redis_client, heartbeats.WORKER, "host-1")
    heartbeats.beat(redis_client, heartbeats.SHIPPER, node.name)
    node.in_flight[f"model:{model_id}"] = 2
    tell(redis_client, node, f"model:{model_id}", ok=98, timeout=2, bucket_1=100)
    found = shown(client, operator)
    assert list(found) == [
        "gatewayNode:node-a",
        "shipper:node-a",
        "worker",
        "redis",
        "database",
        f"model:{model_id}",
        f"upstream:{shop}",
    ]
    assert {each["status"] for each in found.values()} == {"healthy"}
    assert {each["reason"] for each in found.values()} == {None}
    called = found[f"model:{model_id}"]
    assert (called["serviceName"], called["kind"]) == (MODEL["name"], "model")
    assert called["metrics"] == {
        "rate": 100,
        "errorRate": 2,
        "p50": 0.5,
        "p95": 0.95,
        "p99": 0.99,
        "concurrency": 2,
    }
    assert found[f"upstream:{shop}"]["metrics"] == {"rate": 0, "errorRate": 0, "concurrency": 0}
    assert found["gatewayNode:node-a"]["metrics"] | {"silentSeconds": 0} == {
        "silentSeconds": 0,
        "load": 25,
        "workers": 2,
        "revision": 0,
    }
    assert found["worker"]["metrics"] == {"processes": 1}
    for each in found.values():
        assert set(each) == {
            *("id", "serviceName", "kind", "status", "reason", "lastChecked", "metrics")
        }


def test_what_fails_is_degraded_or_down_with_a_reason(
    client: FlaskClient, operator: dict[str, str], node: TellingNode, redis_client: redis.Redis
) -> None:
    shop = upstream(client, operator, "shop")
    service = f"upstream:{shop}"
    tell(redis_client, node, service, ok=80, timeout=20)
    found = shown(client, operator)[service]
    reason = "Calls fail: 20.0 % of 100.0 a second."
    assert (found["status"], found["reason"]) == ("degraded", reason)
    configure(redis_client, service)
    node.breaker(BREAKER, "open", reason="20 of 20 calls failed in 30 s")
    tell(redis_client, node, service, refused=5)
    found = shown(client, operator)[service]
    reason = "A circuit breaker is open: 20 of 20 calls failed in 30 s."
    assert (found["status"], found["reason"]) == ("down", reason)
    node.breakers.clear()
    node.targets = {shop: {"10.0.0.1:80": {"healthy": False, "reason": "status 500"}}}
    node.targets[shop]["10.0.0.2:80"] = {"healthy": True}
    tell(redis_client, node)
    found = shown(client, operator)[service]
    reason = "Targets do not work: 1 of 2, 10.0.0.1:80 (status 500)."
    assert (found["status"], found["reason"]) == ("degraded", reason)
    assert found["metrics"] | {"targets": 2, "healthyTargets": 1} == found["metrics"]


def test_what_is_silent_is_down(
    client: FlaskClient,
    operator: dict[str, str],
    node: TellingNode,
    redis_client: redis.Redis,
) -> None:
    shop = upstream(client, operator, "shop")
    tell(redis_client, node)
    found = shown(client, operator)
    assert found["worker"]["reason"] == "No worker is heard."
    assert found["shipper:node-a"]["reason"] == "Never heard."
    node.tell(-40)
    redis_client.delete(keys.READINGS)
    found = shown(client, operator)
    assert found["gatewayNode:node-a"]["status"] == "down"
    assert found["gatewayNode:node-a"]["reason"].startswith("Silent for 3")
    for name in ("worker", "shipper:node-a"):
        assert found[name]["status"] == "down"
    found = found[f"upstream:{shop}"]
    assert (found["status"], found["reason"]) == (None, "No gateway node is heard.")
    node.tell(40)
    found = shown(client, operator)[f"upstream:{shop}"]
    assert (found["status"], found["metrics"]) == (None, {})
    assert found["reason"] == "No worker sums up what nodes count."
    node.tell(-4000)
    assert "gatewayNode:node-a" not in shown(client, operator), "forgotten after an hour"


def test_it_is_filtered_and_paged(
    client: FlaskClient, operator: dict[str, str], node: TellingNode, redis_client: redis.Redis
) -> None:
    names = [f"shop-{number}" for number in range(3)]
    ids = {name: upstream(client, operator, name) for name in reversed(names)}
    tell(redis_client, node, f"upstream:{ids['shop-1']}", timeout=1, ok=1)
    found = shown(client, operator, "kind=upstream")
    assert [each["serviceName"] for each in found.values()] == names
    found = shown(client, operator, "kind=upstream&status=degraded")
    assert [each["serviceName"] for each in found.values()] == ["shop-1"]
    down = shown(client, operator, "status=down")
    assert set(down) == {"worker", "shipper:node-a"}
    answer = client.get(f"{URL}?kind=upstream&pageSize=2&page=2", headers=operator)
    assert [each["serviceName"] for each in answer.json] == ["shop-2"]
    assert json.loads(answer.headers["X-Pagination"])["total"] == 3
    for query in ("status=ill", "kind=cat", "colour=red"):
        answer = client.get(f"{URL}?{query}", headers=operator)
        assert (answer.status_code, query.partition("=")[0] in answer.text) == (422, True)


def test_a_tenant_sees_what_it_may_call_and_the_numbers_of_its_own(
    client: FlaskClient,
    operator: dict[str, str],
    tenant: Tenant,
    tenant_admin: dict[str, str],
    node: TellingNode,
    redis_client: redis.Redis,
) -> None:
    other = client.post("/api/tenants", json={"name": "other"}, headers=operator).json["id"]
    model_id = model(client, operator, tenant)
    upstream(client, operator, "hidden")
    upstream(client, operator, "others", tenantId=other)
    shared = upstream(client, operator, "shared", isShared=True)
    own = upstream(client, tenant_admin, "own")
    node.targets = {
        id_: {"10.0.0.1:80": {"healthy": False, "reason": "status 500"}} for id_ in (shared, own)
    }
    configure(redis_client, f"model:{model_id}", tenant=other, mode="forcedOpen")
    tell(redis_client, node, f"model:{model_id}", ok=80, timeout=20)
    found = shown(client, tenant_admin)
    assert list(found) == [f"model:{model_id}", f"upstream:{own}", f"upstream:{shared}"]
    called = found[f"model:{model_id}"]
    assert (called["status"], called["reason"]) == ("degraded", "Calls fail."), "not by the breaker"
    assert called["metrics"] == {}
    assert found[f"upstream:{shared}"]["reason"] == "Targets do not work."
    assert found[f"upstream:{shared}"]["metrics"] == {}
    assert found[f"upstream:{own}"]["reason"].endswith("10.0.0.1:80 (status 500).")
    assert found[f"upstream:{own}"]["metrics"]["targets"] == 1
    assert shown(client, tenant_admin, "kind=database") == {}
    assert "circuit breaker" in shown(client, operator)[f"model:{model_id}"]["reason"]
    configure(redis_client, f"model:{model_id}", tenant=str(tenant.id), mode="forcedOpen")
    assert shown(client, tenant_admin)[f"model:{model_id}"]["status"] == "down"
    assert shown(client, operator)[f"model:{model_id}"]["status"] == "degraded"


def test_without_redis_it_says_what_it_knows(
    client: FlaskClient, operator: dict[str, str], settings: Settings
) -> None:
    shop = upstream(client, operator, "shop")
    lonely = load_settings(
        state=settings.state,
        environ={
            "YUMEN_REDIS_URL": "redis://127.0.0.1:1/0",
            "YUMEN_DATABASE_URL": settings.database_url,
        },
    )
    app = create_app(lonely)
    found = shown(app.test_client(), operator)
    statuses = {name: each["status"] for name, each in found.items()}
    assert statuses == {"worker": None, "redis": "down", "database": "healthy"} | {
        f"upstream:{shop}": None
    }
    assert found[f"upstream:{shop}"]["reason"] == "Redis, where nodes tell, cannot be reached."
    app.extensions["yumen_database"].close()


def test_a_summary_of_another_version_is_as_good_as_none(
    client: FlaskClient, operator: dict[str, str], node: TellingNode, redis_client: redis.Redis
) -> None:
    service = f"upstream:{upstream(client, operator, 'shop')}"
    tell(redis_client, node, service, timeout=9)
    assert shown(client, operator)[service]["status"] == "down"
    said = json.loads(redis_client.get(keys.READINGS))
    for unsound in (said | {"services": {service: [1, 2, 3]}}, {"at": said["at"]}, [], None):
        redis_client.set(keys.READINGS, json.dumps(unsound))
        found = shown(client, operator)[service]
        reason = "No worker sums up what nodes count."
        assert (found["status"], found["reason"]) == (None, reason)


@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
def test_a_redis_that_does_not_answer_holds_nobody_up_for_long(
    settings: Settings, operator: dict[str, str]
) -> None:
    with RedisServer() as hanging:
        environ = {"YUMEN_REDIS_URL": hanging.url, "YUMEN_DATABASE_URL": settings.database_url}
        app = create_app(load_settings(state=settings.state, environ=environ))
        assert shown(app.test_client(), operator)["redis"]["status"] == "healthy"
        hanging.process.send_signal(signal.SIGSTOP)
        started = clock.monotonic()
        assert shown(app.test_client(), operator)["redis"]["status"] == "down"
        assert clock.monotonic() - started < 20
        hanging.process.send_signal(signal.SIGCONT)
        app.extensions["yumen_database"].close()


def test_the_worker_sums_up_and_says_that_it_lives(
    settings: Settings, redis_client: redis.Redis, node: TellingNode
) -> None:
    stop = threading.Event()
    loop = threading.Thread(target=run_summing_up, args=(lambda: ["mail"], settings, stop))
    loop.start()
    try:
        until(lambda: redis_client.get(keys.READINGS), "it sums up", 10)
        (beat,) = heartbeats.parse(redis_client.hgetall(keys.HEARTBEATS))
        assert (beat.kind, beat.failing, beat.is_alive) == ("worker", ("mail",), True)
        node.tell(0)
        until(lambda: summary.parse(redis_client.get(keys.READINGS)).loads, "the node's load", 10)
        assert summary.parse(redis_client.get(keys.READINGS)).loads == {node.name: 25.0}
        assert 0 < redis_client.ttl(keys.READINGS) <= 5
    finally:
        stop.set()
        loop.join()
    assert redis_client.hlen(keys.HEARTBEATS) == 0, "it ended as it should"


def test_a_heartbeat_of_long_ago_is_forgotten(
    redis_client: redis.Redis, settings: Settings
) -> None:
    assert settings.redis_url
    heartbeats.beat(redis_client, heartbeats.SHIPPER, "new")
    long_ago = round(clock.now().timestamp() * 1000) - 3_601_000
    redis_client.hset(keys.HEARTBEATS, "shipper/old", json.dumps({"at": long_ago, "failing": []}))
    assert [each.name for each in heartbeats.parse(redis_client.hgetall(keys.HEARTBEATS))] == [
        "new"
    ]
    heartbeats.forget(redis_client)
    assert redis_client.hkeys(keys.HEARTBEATS) == [b"shipper/new"]
