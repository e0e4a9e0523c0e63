"""The policy `limits` on real nginx: what is refused, how it is told, and what is given back."""

import threading
import time
import uuid
from typing import Any

import pytest

from control_plane.contract import keys
from tests.integration.gateway.conftest import Node
from tests.stack import until
from tests.upstream import respond


def rule(**fields: Any) -> dict[str, Any]:
    """Return a rule of ten requests a day of each tenant."""
    return {
        "id": str(uuid.uuid4()),
        "name": "ten a day",
        "scope": ["tenant"],
        "match": {},
        "meter": "requests",
        "limit": 10,
        "window": "day",
        "burst": None,
        "onOutage": "closed",
        "zone": [{"from": 0, "offset": 28800}],
        **fields,
    }


def limit(node: Node, *rules: dict[str, Any], document: str | None = None) -> None:
    """Publish the rules of the tenant."""
    node.gateway.trust_counters()
    node.gateway.publish({"limits": {document or node.tenant: {"rules": list(rules)}}})


def statuses(node: Node, count: int) -> list[int]:
    return [node.call().status_code for _ in range(count)]


def test_a_refusal_names_the_rule_and_tells_when_to_come_again(node: Node) -> None:
    limit(node, rule())
    first = node.call()
    assert first.headers["RateLimit-Policy"] == '"ten a day";q=10;w=86400'
    assert first.headers["RateLimit"].startswith('"ten a day";r=9;t=')
    assert first.headers["x-ratelimit-limit-requests"] == "10"
    assert first.headers["x-ratelimit-remaining-requests"] == "9"
    assert statuses(node, 12) == [200] * 9 + [429] * 3
    refused = node.call()
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert "'ten a day' (10 requests a day)" in refused.json()["error"]["message"]
    assert 0 < int(refused.headers["Retry-After"]) <= 86400
    assert refused.headers["RateLimit"].startswith('"ten a day";r=0;t=')
    assert len(node.upstream.received) == 10


def test_a_change_is_obeyed_and_goes_on_with_what_was_used(node: Node) -> None:
    kept = rule(limit=3)
    limit(node, kept)
    assert statuses(node, 4) == [200, 200, 200, 429]
    limit(node, {**kept, "limit": 5})
    assert statuses(node, 3) == [200, 200, 429]
    limit(node, {**kept, "limit": 2})
    assert statuses(node, 1) == [429]


def test_all_rules_count_or_none(node: Node) -> None:
    """What a wide rule granted is not lost when a narrow one refuses."""
    wide, narrow = rule(limit=8), rule(limit=3, scope=["key", "model"])
    limit(node, wide, narrow)
    assert statuses(node, 9) == [200] * 3 + [429] * 6
    limit(node, wide)
    assert statuses(node, 6) == [200] * 5 + [429]


def test_tokens_are_settled_by_what_was_used(node: Node) -> None:
    """An answer uses 18 tokens; more is reserved, and comes back."""
    limit(node, rule(meter="tokens", limit=6000))
    assert statuses(node, 5) == [200] * 5
    name = keys.ALLOWANCE_COUNTER + "*"

    def used() -> int:
        (counter,) = node.gateway.client.scan_iter(name)
        return int(node.gateway.client.hget(counter, "u"))

    until(lambda: used() == 5 * 18, "what was not used is back in Redis", 10)


def test_calls_at_one_time_end_with_the_call(node: Node) -> None:
    release = threading.Event()

    def slow(connection: Any, received: Any) -> None:
        release.wait(20)
        respond()(connection, received)

    node.upstream.reset(slow)
    limit(node, rule(meter="concurrency", limit=2, window=None, zone=[], name="two at once"))
    results: list[int] = []
    calls = [
        threading.Thread(target=lambda: results.append(node.call().status_code)) for _ in range(2)
    ]
    for call in calls:
        call.start()
    until(lambda: len(node.upstream.received) == 2, "two calls are under way", 10)
    assert node.call().status_code == 429
    release.set()
    for call in calls:
        call.join()
    assert results == [200, 200]
    until(lambda: node.call().status_code == 200, "there is room again", 5)


def test_a_call_that_goes_no_further_has_taken_nothing(node: Node) -> None:
    limit(node, rule(limit=2))
    closed = node.documents()["models"][node.model]
    node.gateway.publish(
        {
            "models": {
                node.model: {**closed, "endpoint": {**closed["endpoint"], "host": "192.0.2.1"}}
            }
        }
    )
    forbidden = node.call()
    assert forbidden.status_code == 502, forbidden.text
    node.gateway.publish({"models": {node.model: closed}})
    assert statuses(node, 3) == [200, 200, 429]


@pytest.mark.parametrize(
    ("mode", "expected"), [("open", [200] * 4), ("closed", [503] * 4), ("local", [200] * 3 + [429])]
)
def test_without_redis_the_rule_decides_at_once(node: Node, mode: str, expected: list[int]) -> None:
    limit(node, rule(limit=3, onOutage=mode))
    node.redis.kill()
    began = time.monotonic()
    assert statuses(node, 4) == expected
    assert time.monotonic() - began < 10
    if mode == "closed":
        assert node.call().json()["error"]["code"] == "limits_unavailable"
    node.redis.start()
    node.gateway.trust_counters()
    until(lambda: node.call().status_code == 200, "Redis counts again", 10)


def test_two_tenants_do_not_share_a_counter_of_the_platform(node: Node) -> None:
    limit(node, rule(limit=2), document="platform")
    assert statuses(node, 3) == [200, 200, 429]
    other = node.call(host="other.test", key=node.other_key)
    assert other.status_code == 200
