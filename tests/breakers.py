"""Nodes of a fleet in front of one upstream whose breaker is under test."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import redis
import requests

from control_plane.contract import keys
from tests.contract.state import SECRETS
from tests.gateway import NginxServer, new_key
from tests.servers import RedisServer
from tests.stack import until
from tests.upstream import ANSWER, Received, Upstream, respond

HOST = "acme.test"
FAILING = respond(b"{}", "500 Internal Server Error")


def rule(**fields: Any) -> dict[str, Any]:
    """Return a breaker that opens when two of four calls fail, for one second."""
    return {
        "id": str(uuid.uuid4()),
        "endpoint": None,
        "tenant": None,
        "mode": "auto",
        "failureThreshold": 50,
        "minimumCalls": 4,
        "windowSeconds": 30,
        "slowCallMilliseconds": None,
        "slowCallThreshold": 80,
        "consecutiveFailures": None,
        "resetTimeout": 1,
        "maxResetTimeout": 60,
        "halfOpenPermits": 2,
        "countedStatuses": [429, 500, 502, 503, 504],
        **fields,
    }


@dataclass
class Fleet:
    """Gateway nodes that share a Redis, secrets and documents."""

    upstream: Upstream
    redis: RedisServer
    nodes: list[NginxServer]
    tenant: str
    model: str
    key: str

    def start(self, name: str, workers: int = 2, **environment: str) -> NginxServer:
        """Start a node on what is published."""
        settings = {**SECRETS, "YUMEN_GATEWAY_NODE": name, **environment}
        node = NginxServer(self.redis.url, None, workers, settings)
        self.nodes.append(node)
        node.start()
        node.publisher = self.nodes[0].publisher
        if node.publisher.revision:
            node.wait_for(f"{node.publisher.epoch}-{node.publisher.revision}")
        return node

    def breakers(self, *rules: dict[str, Any] | None) -> list[str]:
        """Publish the model's breakers, without any none; return their ids."""
        document = {"breakers": list(rules)} if rules else None
        publisher = self.nodes[0].publisher
        revision = publisher.publish({"breakers": {f"model:{self.model}": document}})
        for node in self.nodes:
            node.wait_for(revision)
        return [one["id"] for one in rules if one]

    def call(
        self, node: int = 0, path: str = "/v1/chat/completions", **options: Any
    ) -> requests.Response:
        """Send one chat call to a node."""
        body = json.dumps({"model": "m", "messages": [], **options.pop("body", {})})
        options.setdefault("data", body)
        return self.nodes[node].call("POST", path, HOST, key=self.key, **options)

    def fail(self, calls: int, node: int = 0) -> None:
        """Let that many calls fail at the upstream."""
        former, self.upstream.script = self.upstream.script, FAILING
        for _ in range(calls):
            assert self.call(node).status_code == 500
        self.upstream.script = former

    def is_open(self, node: int = 0) -> bool:
        """Tell whether a call is refused by the breaker."""
        return is_refused(self.call(node))

    def events(self, breaker: str) -> list[dict[str, str]]:
        """Return what nodes told of the breaker, oldest first."""
        with redis.Redis.from_url(self.redis.url, decode_responses=True) as client:
            entries: Any = client.xrange(keys.NODE_EVENTS)
        return [fields for _, fields in entries if fields["id"] == breaker]

    def wait_for(self, breaker: str, status: str, node: str, seconds: float = 15) -> dict[str, str]:
        """Wait until the last that a node told of the breaker is this status."""

        def last() -> dict[str, str] | None:
            told = [event for event in self.events(breaker) if event["node"] == node]
            return told[-1] if told and told[-1]["status"] == status else None

        return dict(until(last, f"{node} says {status}", seconds))


def is_refused(answer: requests.Response) -> bool:
    """Tell whether the breaker refused, with everything that belongs to it."""
    if answer.status_code != 503:
        return False
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("circuit_open", "upstream_error")
    assert 1 <= int(answer.headers["Retry-After"]) <= 100
    return True


class Hanging:
    """A script that answers only when it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, connection: Any, received: Received) -> None:
        """Wait, then answer."""
        self.go.wait(20)
        respond(ANSWER)(connection, received)


def answers_after(seconds: float) -> Any:
    """Return a script that answers well, but late."""

    def script(connection: Any, received: Received) -> None:
        time.sleep(seconds)
        respond(ANSWER)(connection, received)

    return script


@contextmanager
def fleet(*names: str, workers: int = 2) -> Iterator[Fleet]:
    """Yield a fleet of started nodes with these names."""
    with Upstream() as upstream, RedisServer() as server, ExitStack() as stack:
        key_id, key = new_key()
        made = Fleet(upstream, server, [], str(uuid.uuid4()), str(uuid.uuid4()), key)
        stack.callback(lambda: [node.__exit__(None, None, None) for node in made.nodes])
        for name in names:
            made.start(name, workers)
        endpoint = {"scheme": "http", "host": "127.0.0.1", "port": upstream.port, "path": "/v1"}
        model = {
            "name": "m",
            "provider": "openai",
            "isActive": True,
            "costPerCall": "0",
            "endpoint": endpoint,
            "apiKey": None,
            "parameters": {},
            "enforcedParameters": [],
        }
        entry = {
            "model": made.model,
            "parameters": {},
            "costMultiplier": "1",
            "maxCallsPerDay": None,
        }
        first = made.nodes[0]
        revision = first.publisher.publish(
            {
                "hosts": {HOST: {"tenant": made.tenant}},
                "tenants": {made.tenant: {"status": "active", "models": {"m": entry}}},
                "credentials": {key_id: first.credential(made.tenant, key)},
                "models": {made.model: model},
            }
        )
        for node in made.nodes:
            node.wait_for(revision)
        yield made
