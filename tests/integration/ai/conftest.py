"""A gateway in front of a scripted upstream, with one tenant that may call it."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from control_plane.contract.journal import HEADER_BYTES, Record, read_frames, read_record
from tests.gateway import NginxServer, new_key
from tests.servers import RedisServer
from tests.stack import until
from tests.upstream import Upstream

HOST = "acme.test"
CHAT = "/v1/chat/completions"


@dataclass
class Stage:
    """The gateway, its upstream, and the documents that join them."""

    gateway: NginxServer
    upstream: Upstream
    tenant: str
    key: str
    models: dict[str, str] = field(default_factory=dict)

    def model_document(self, name: str, **fields: Any) -> dict[str, Any]:
        """Return a model served by the scripted upstream."""
        model = self.models.setdefault(name, str(uuid.uuid4()))
        return {
            "name": name,
            "provider": "openai",
            "isActive": True,
            "costPerCall": "0.01",
            "endpoint": {
                "scheme": "http",
                "host": "127.0.0.1",
                "port": self.upstream.port,
                "path": "/base/v1",
            },
            "apiKey": self.gateway.keyring.seal("sk-upstream-secret", f"models/{model}"),
            "parameters": {},
            "enforcedParameters": [],
            **fields,
        }

    def tenant_document(self, **entries: dict[str, Any]) -> dict[str, Any]:
        """Return the tenant with every model of the stage; *entries* change one."""
        models = {
            name: {
                "model": model,
                "parameters": {},
                "costMultiplier": "1.5",
                "maxCallsPerDay": None,
                **entries.get(name, {}),
            }
            for name, model in self.models.items()
        }
        return {"status": "active", "models": models}

    def publish(self, **models: dict[str, Any]) -> None:
        """Publish models by name, each with the fields that differ; `entry` is the tenant's."""
        entries = {name: fields.pop("entry", {}) for name, fields in models.items()}
        documents = {name: self.model_document(name, **fields) for name, fields in models.items()}
        self.gateway.publish(
            {
                "models": {self.models[name]: document for name, document in documents.items()},
                "tenants": {self.tenant: self.tenant_document(**entries)},
            }
        )

    def post(self, body: Any, path: str = CHAT, **options: Any) -> requests.Response:
        """Send a body: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        options.setdefault("key", self.key)
        return self.gateway.call("POST", path, HOST, data=data, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        """Send a GET with the tenant's key."""
        return self.gateway.call("GET", path, HOST, key=self.key, **options)

    def records(self) -> list[Record]:
        """Return every record that the gateway's workers have written."""
        found = []
        for file in sorted((self.gateway.prefix / "journal").glob("*/*.seg")):
            frames = read_frames(file.read_bytes(), HEADER_BYTES)
            found += [read_record(payload) for _, payload in frames]
        return found

    def ended(self, response: requests.Response) -> Record:
        """Return the E record of a call, which is written once the answer has gone out."""
        wanted = response.headers["X-Request-Id"]
        return self.ended_id(wanted)

    def ended_id(self, request_id: str) -> Record:
        """Return the E record of the call with this id."""

        def find() -> Record | None:
            mine = [r for r in self.records() if r.request_id == request_id]
            return next((r for r in mine if r.kind == 2), None)

        record: Record = until(find, f"the E record of {request_id}", 10)
        begun = [r for r in self.records() if r.request_id == request_id and r.kind == 1]
        assert [r.seq for r in begun] == [record.seq]
        return record


@contextmanager
def open_stage(upstream: Upstream, **settings: str) -> Iterator[Stage]:
    """Run a gateway in front of *upstream*; *settings* are environment variables."""
    key_id, key = new_key()
    tenant = str(uuid.uuid4())
    with RedisServer() as server:
        gateway = NginxServer(server.url, environment=settings)
        made = Stage(gateway, upstream, tenant, key)
        model = made.model_document("m")
        gateway.documents = {
            "hosts": {HOST: {"tenant": tenant}},
            "tenants": {tenant: made.tenant_document()},
            "credentials": {key_id: gateway.credential(tenant, key)},
            "models": {made.models["m"]: model},
        }
        with gateway:
            yield made


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Upstream() as upstream, open_stage(upstream) as made:
        yield made


@pytest.fixture
def ai(stage: Stage) -> Stage:
    """The stage, its upstream back to a plain answer and forgetful."""
    stage.upstream.reset()
    return stage
