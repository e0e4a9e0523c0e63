"""A gateway with two workers on a Redis of its own, which the tests may wipe, stop and kill."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.gateway import NginxServer, new_key
from tests.servers import RedisServer
from tests.upstream import Upstream

HOST = "acme.test"
OTHER_HOST = "other.test"


@dataclass
class Node:
    """A gateway in front of a scripted upstream, with a tenant and another one beside it."""

    gateway: NginxServer
    upstream: Upstream
    redis: RedisServer
    tenant: str
    model: str
    key_id: str
    key: str
    other_key: str

    def call(self, host: str = HOST, key: str | None = None, **options: Any) -> Any:
        """Send one chat call with the tenant's key, or another key."""
        body = json.dumps({"model": "m", "messages": []})
        return self.gateway.call(
            "POST",
            "/v1/chat/completions",
            host,
            key=self.key if key is None else key,
            data=body,
            **options,
        )

    def tenant_document(self, status: str = "active", **fields: Any) -> dict[str, Any]:
        """Return the tenant's document."""
        entry = {
            "model": self.model,
            "parameters": {},
            "costMultiplier": "1.5",
            "maxCallsPerDay": None,
        }
        return {"status": status, "models": {"m": entry}, **fields}

    def documents(self) -> dict[str, dict[str, Any]]:
        """Return everything that the gateway serves."""
        other = str(uuid.uuid4())
        other_id = self.other_key.split("_")[2]
        model = {
            "name": "m",
            "provider": "openai",
            "isActive": True,
            "costPerCall": "0.01",
            "endpoint": {
                "scheme": "http",
                "host": "127.0.0.1",
                "port": self.upstream.port,
                "path": "/v1",
            },
            "apiKey": None,
            "parameters": {},
            "enforcedParameters": [],
        }
        return {
            "hosts": {HOST: {"tenant": self.tenant}, OTHER_HOST: {"tenant": other}},
            "tenants": {self.tenant: self.tenant_document(), other: self.tenant_document()},
            "credentials": {
                self.key_id: self.gateway.credential(self.tenant, self.key),
                other_id: self.gateway.credential(other, self.other_key),
            },
            "models": {self.model: model},
        }


def make_node(workers: int = 2, environment: Mapping[str, str] | None = None) -> Iterator[Node]:
    """Yield a fresh node that serves its documents."""
    with Upstream() as upstream, RedisServer() as server:
        gateway = NginxServer(server.url, workers=workers, environment=environment)
        key_id, key = new_key()
        made = Node(
            gateway=gateway,
            upstream=upstream,
            redis=server,
            tenant=str(uuid.uuid4()),
            model=str(uuid.uuid4()),
            key_id=key_id,
            key=key,
            other_key=new_key()[1],
        )
        gateway.documents = made.documents()
        with gateway:
            yield made


@pytest.fixture
def node() -> Iterator[Node]:
    """A node for one test."""
    yield from make_node()


@pytest.fixture(scope="module")
def shared_node() -> Iterator[Node]:
    """A node for tests that leave it as they found it."""
    yield from make_node()
