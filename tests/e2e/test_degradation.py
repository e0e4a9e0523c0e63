"""A degradation rule in a whole installation: what nodes count, the worker decides, nodes obey."""

from contextlib import suppress
from typing import Any

import openai

from tests.e2e.conftest import offer
from tests.stack import Stack, until
from tests.upstream import Upstream, respond

RULE = {
    "name": "ailing is away",
    "serviceName": "ailing",
    "condition": "errorRate > 50 && rate > 0",
    "forSeconds": 1,
    "clearForSeconds": 1,
    "action": "fallback",
    "parameters": {"model": "reserve"},
}


def call(client: openai.OpenAI) -> str | None:
    """Call the model; return the rule that says that it changed the call."""
    messages: Any = [{"role": "user", "content": "hello"}]
    answer = client.chat.completions.with_raw_response.create(model="ailing", messages=messages)
    return answer.headers.get("X-Yumen-Degraded")


def in_force(stack: Stack) -> dict[str, str]:
    """Return why the two rules are in force, nothing as long as one is not."""
    found = stack.api("GET", "/api/degradation-rules")
    active = {each["name"]: each["reason"] for each in found if each["active"]}
    return active if active.keys() == {RULE["name"], "rehearsal"} else {}


def test_what_fails_is_replaced_and_called_again_later(stack: Stack, client: openai.OpenAI) -> None:
    with Upstream() as ailing, Upstream() as reserve:
        for name, upstream in (("ailing", ailing), ("reserve", reserve)):
            offer(stack, client, name, f"http://127.0.0.1:{upstream.port}/v1")
        made = stack.api("POST", "/api/degradation-rules", json=RULE)
        dry = {**RULE, "name": "rehearsal", "dryRun": True}
        stack.api("POST", "/api/degradation-rules", json=dry)
        assert call(client) is None
        ailing.reset(respond(b"{}", "500 Internal Server Error"))

        def is_replaced() -> bool:
            with suppress(openai.InternalServerError):
                return call(client) == "ailing is away"
            return False

        until(is_replaced, "the other model answers")
        # Gateways hear of it a moment before the API does.
        shown = until(lambda: in_force(stack), "the API says that both rules are in force")
        for reason in shown.values():
            assert reason.startswith("errorRate = ")
            assert reason.endswith(" for 1 s")
        ailing.reset()
        until(lambda: call(client) is None, "the model is called again")
        url = f"/api/degradation-rules/{made['id']}"
        until(lambda: stack.api("GET", url)["active"] is False, "the API says so")
