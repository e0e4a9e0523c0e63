"""The tenants that the benches call as: documents of one with a key and a model, and its limit."""

import json
import uuid
from typing import Any

from tests.gateway import NginxServer, new_key

PARAMETERS = {"temperature": "0.7", "model": '"bench"'}


def chat_body() -> str:
    """Return a chat request of 1 KB."""
    messages = [
        {"role": "system", "content": "You are a helpful assistant. " + "s" * 300},
        {"role": "user", "content": "Hello there. " + "u" * 200},
        {"role": "assistant", "content": "Hi! " + "a" * 150},
        {"role": "user", "content": "Go on. " + "v" * 98},
    ]
    body = {"model": "bench", "messages": messages, "max_tokens": 256, "user": "user-1234"}
    return json.dumps(body)


def tenant_documents(
    node: NginxServer, host: str, upstream_port: int
) -> tuple[dict[str, dict[str, Any]], str]:
    """Return a tenant with a model, and its key."""
    key_id, key = new_key()
    tenant, model = str(uuid.uuid4()), str(uuid.uuid4())
    endpoint = {"scheme": "http", "host": "127.0.0.1", "port": upstream_port, "path": "/v1"}
    entry: dict[str, Any] = {
        "model": model,
        "parameters": {},
        "costMultiplier": "1",
        "maxCallsPerDay": None,
    }
    documents: dict[str, dict[str, Any]] = {
        "hosts": {host: {"tenant": tenant}},
        "tenants": {tenant: {"status": "active", "models": {"bench": entry}}},
        "credentials": {key_id: node.credential(tenant, key)},
        "models": {
            model: {
                "name": "bench",
                "provider": "openai",
                "isActive": True,
                "costPerCall": "0.01",
                "endpoint": endpoint,
                "apiKey": node.keyring.seal("sk-bench", f"models/{model}"),
                "parameters": PARAMETERS,
                "enforcedParameters": [],
            }
        },
    }
    return documents, key


def limit_rule(limit: int) -> dict[str, Any]:
    """Return a rule of *limit* requests a second of a tenant."""
    return {
        "id": str(uuid.uuid4()),
        "name": "a second",
        "scope": ["tenant"],
        "match": {},
        "meter": "requests",
        "limit": limit,
        "window": "second",
        "burst": None,
        "onOutage": "closed",
        "zone": [],
    }
