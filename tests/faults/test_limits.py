"""Redis is killed, stopped or wiped under traffic that a limit holds back, in each `onOutage` mode.

Nobody's key is doubted, nobody waits, and what passes meanwhile is what the rule says.
"""

import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.bench.servers import upstream
from tests.faults import load
from tests.gateway import NginxServer, new_key
from tests.servers import RedisServer
from tests.stack import until

RATE = int(os.environ.get("YUMEN_FAULT_RATE", "50"))
LIMIT = RATE // 5
FACTOR = 1 if RATE < 500 else 3
BEFORE, AWAY, AFTER = 0.5 * FACTOR, 1.0 * FACTOR, 0.5 * FACTOR
HOST = "acme.test"
DECIDED_SECONDS = 1.0
"""Ten times what a decision may take, which is measured on a machine that does other things."""
ALLOWED = {"open": {200, 429}, "closed": {200, 429, 503}, "local": {200, 429}}


@dataclass
class Limited:
    """A gateway whose only tenant has a limit of `LIMIT` requests a second."""

    gateway: NginxServer
    redis: RedisServer
    key: str

    def ask(self) -> tuple[int, float]:
        """Make a call; return status and seconds."""
        body = json.dumps({"model": "m", "messages": []})
        began = time.monotonic()
        answer = self.gateway.call("POST", "/v1/chat/completions", HOST, key=self.key, data=body)
        return answer.status_code, time.monotonic() - began


def documents(
    gateway: NginxServer, port: int, key_id: str, key: str, on_outage: str
) -> dict[str, dict[str, Any]]:
    tenant, model = str(uuid.uuid4()), str(uuid.uuid4())
    entry = {"model": model, "parameters": {}, "costMultiplier": "1", "maxCallsPerDay": None}
    endpoint = {"scheme": "http", "host": "127.0.0.1", "port": port, "path": "/v1"}
    rule = {
        "id": str(uuid.uuid4()),
        "name": "a second",
        "scope": ["tenant"],
        "match": {},
        "meter": "requests",
        "limit": LIMIT,
        "window": "second",
        "burst": None,
        "onOutage": on_outage,
        "zone": [],
    }
    return {
        "hosts": {HOST: {"tenant": tenant}},
        "tenants": {tenant: {"status": "active", "models": {"m": entry}}},
        "credentials": {key_id: gateway.credential(tenant, key)},
        "models": {
            model: {
                "name": "m",
                "provider": "openai",
                "isActive": True,
                "costPerCall": "0.01",
                "endpoint": endpoint,
                "apiKey": None,
                "parameters": {},
                "enforcedParameters": [],
            }
        },
        "limits": {tenant: {"rules": [rule]}},
    }


@pytest.fixture(scope="module")
def limited(request: pytest.FixtureRequest) -> Iterator[Limited]:
    with upstream() as origin, RedisServer() as server:
        key_id, key = new_key()
        gateway = NginxServer(server.url, workers=2)
        gateway.documents = documents(gateway, origin.port, key_id, key, request.param)
        with gateway:
            made = Limited(gateway, server, key)
            until(lambda: made.ask()[0] == 200, "the limit counts by Redis", 20)
            yield made


@contextmanager
def loaded(limited: Limited, seconds: float) -> Iterator[load.Answers]:
    """Ask for five times the limit, for some seconds; the answers are there at the end."""
    target = load.Target(limited.gateway.settings.gateway.port, HOST, limited.key, "m")
    answers = load.Answers()

    def ask() -> None:
        found = load.run(target, RATE, seconds, "limited", streams=False)
        vars(answers).update(vars(found))

    thread = threading.Thread(target=ask)
    thread.start()
    yield answers
    thread.join()


def damage(limited: Limited, kind: str) -> list[tuple[int, float]]:
    """Do it, undo it; return the calls that were made meanwhile, when it was noticed."""
    assert limited.redis.process is not None
    if kind == "wiped":
        limited.gateway.client.flushall()
        limited.gateway.publisher.republish()
        return []
    if kind == "killed":
        limited.redis.kill()
    else:
        limited.redis.process.send_signal(signal.SIGSTOP)
    # What the node holds of the window is spent first.
    time.sleep(1.2)
    calls = []
    began = time.monotonic()
    while time.monotonic() < began + AWAY:
        calls.append(limited.ask())
        time.sleep(0.1)
    if kind == "killed":
        limited.redis.start()
        limited.gateway.publisher.republish()
    else:
        limited.redis.process.send_signal(signal.SIGCONT)
    return calls


@pytest.mark.parametrize("kind", ["killed", "stopped", "wiped"])
@pytest.mark.parametrize("limited", ["open", "closed", "local"], indirect=True)
def test_a_limit_without_redis(limited: Limited, kind: str, request: pytest.FixtureRequest) -> None:
    mode = request.node.callspec.params["limited"]
    client = limited.gateway.client
    start = client.time()[0]
    with loaded(limited, BEFORE + AWAY + AFTER + 1.2) as answers:
        time.sleep(BEFORE)
        meanwhile = damage(limited, kind)
    windows = client.time()[0] - start + 1
    assert answers.broken == set()
    assert set(answers.refused.values()) | {200} <= ALLOWED[mode]
    slowest = max((seconds for _, seconds in meanwhile), default=0.0)
    assert slowest < DECIDED_SECONDS, "nobody waits for a Redis that does not answer"
    passed = len(answers.complete) + [status for status, _ in meanwhile].count(200)
    if mode == "open":
        assert {status for status, _ in meanwhile} <= {200}
    elif mode == "closed":
        assert {status for status, _ in meanwhile} <= {503}
        assert passed <= windows * LIMIT
    else:
        assert {status for status, _ in meanwhile} <= {200, 429}
        # By itself the node begins its own windows, and one more of each kind.
        assert passed <= (windows + 3) * LIMIT
    assert passed, "there was traffic"
    until(lambda: limited.ask()[0] == 200, "Redis counts again", 20)
    until(lambda: 429 in {limited.ask()[0] for _ in range(2 * LIMIT)}, "the limit holds", 20)
