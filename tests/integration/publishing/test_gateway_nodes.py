"""What the API tells of the gateway nodes."""

import json
from typing import Any

import redis
from flask import Flask
from flask.testing import FlaskClient

from control_plane.contract import keys
from control_plane.core.database import Database
from control_plane.publishing import Publisher
from tests import factories
from tests.integration.publishing.conftest import Configuration


def _report(client: redis.Redis, node: str, seen_at: int, **fields: Any) -> None:
    """Report as a gateway node does."""
    status = {
        "node": node,
        "epoch": 0,
        "revision": 0,
        "refusals": [],
        "workers": [11, 12],
        "seenAt": seen_at,
        "contract": 1,
    }
    client.zadd(keys.NODES, {node: seen_at})
    client.hset(keys.node(node), "status", json.dumps(status | fields))


def test_each_node_is_shown_with_what_all_its_workers_hold(
    client: FlaskClient,
    operator: dict[str, str],
    publisher: Publisher,
    configuration: Configuration,
    redis_client: redis.Redis,
) -> None:
    epoch, number = configuration.revision
    refusal = {"section": "models", "id": "x", "epoch": 1, "revision": 1, "reason": "no memory"}
    memory = {"memoryBytes": 67_108_864, "memoryFreeBytes": 4096}
    _report(redis_client, "b", 1_700_000_000_250, epoch=epoch, revision=number, **memory)
    _report(
        redis_client,
        "a",
        1_700_000_001_000,
        epoch=epoch,
        revision=number - 1,
        refusals=[refusal],
        moreRefusals=True,
    )
    _report(redis_client, "new", 1_700_000_002_000)
    redis_client.zadd(keys.NODES, {"silent": 1_600_000_000_000})
    _report(redis_client, "unsound", 1_700_000_003_000, workers="many")

    nodes = client.get("/api/gateway/nodes", headers=operator).json
    current = {"epoch": epoch, "revision": number}
    assert [node["node"] for node in nodes] == ["a", "b", "new", "silent", "unsound"]
    assert {json.dumps(node["current"]) for node in nodes} == {json.dumps(current)}
    assert [node["isCurrent"] for node in nodes] == [False, True, False, False, False]
    assert nodes[0]["applied"] == {"epoch": epoch, "revision": number - 1}
    assert nodes[0]["refusals"] == [refusal]
    assert [node["moreRefusals"] for node in nodes] == [True, False, False, False, False]
    assert nodes[1] | memory == nodes[1]
    assert nodes[0]["memoryBytes"] is None
    assert nodes[1]["applied"] == current
    assert nodes[1]["workers"] == 2
    assert nodes[1]["lastSeen"] == "2023-11-14T22:13:20.250000+00:00"
    assert [node["applied"] for node in nodes[2:]] == [None, None, None]


def test_nodes_are_the_platforms_matter(
    app: Flask, client: FlaskClient, database: Database
) -> None:
    tenant = factories.make_tenant(database)
    admin = factories.sign_in(app, factories.make_user(database, tenant))
    for path in ("nodes", "revisions", "refusals"):
        assert client.get(f"/api/gateway/{path}", headers=admin).status_code == 403
        assert client.get(f"/api/gateway/{path}").status_code == 401


def test_a_redis_that_fails_is_said_so(
    client: FlaskClient, operator: dict[str, str], app: Flask, redis_client: redis.Redis
) -> None:
    redis_client.set(keys.NODES, "not a sorted set")
    answer = client.get("/api/gateway/nodes", headers=operator)
    assert (answer.status_code, answer.json["code"]) == (503, "redis_unavailable")
