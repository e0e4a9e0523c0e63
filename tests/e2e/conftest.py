"""One running Yumen for the journeys, and clients that we did not write."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.stack import Stack, until


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with Stack() as running:
        yield running


def openai_client(stack: Stack, key: str = "", host: str = "") -> openai.OpenAI:
    """Return the official client; it reaches the tenant by its host name on the gateway's port."""
    return openai.OpenAI(
        base_url=f"{stack.ready['gateway']}/v1",
        api_key=key or stack.ready["demo"]["apiKey"],
        default_headers={"Host": host or stack.ready["demo"]["domain"]},
        max_retries=0,
        timeout=20,
    )


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai_client(stack) as made:
        yield made


def offer(stack: Stack, client: openai.OpenAI, name: str, endpoint: str, **fields: Any) -> None:
    """Let the demo tenant call a model at *endpoint* as *name*; wait until the gateway knows."""
    model = {
        "name": name,
        "provider": "openai",
        "endpoint": endpoint,
        "costPerCall": "0.002",
        "isActive": True,
    }
    made = stack.api("POST", "/api/models", json=model | fields)
    terms = {"modelId": made["id"], "costMultiplier": "1.5"}
    stack.api("POST", f"/api/tenants/{stack.ready['demo']['tenantId']}/models", json=terms)
    until(lambda: name in [listed.id for listed in client.models.list()], name)


def metered(stack: Stack, model: str, calls: int) -> dict[str, dict[str, Any]]:
    """Return the events of *model* by request id, once there are *calls* of them."""

    def found() -> dict[str, dict[str, Any]] | None:
        events = {e["requestId"]: e for e in stack.usage_events() if e["model"] == model}
        return events if len(events) == calls else None

    return dict(until(found, f"{calls} metered calls of {model}"))
