"""The official `openai` client talks through the gateway and the tenant's usage shows it."""

import openai
import pytest

from control_plane.core.clock import now
from tests.e2e.conftest import openai_client
from tests.identity_server import IdentityServer
from tests.stack import Stack, until

ASK = [{"role": "user", "content": "Say something."}]


def test_chat_is_answered_and_metered(stack: Stack, client: openai.OpenAI) -> None:
    before = stack.usage()
    answer = client.chat.completions.create(model=stack.ready["demo"]["model"], messages=ASK)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    after = until(
        lambda: (u := stack.usage())["calls"] > before["calls"] and u, "the call in usage", 2
    )
    assert after["calls"] == before["calls"] + 1
    assert after["errors"] == before["errors"]
    assert after["tokensIn"] == before["tokensIn"] + answer.usage.prompt_tokens
    assert after["tokensOut"] == before["tokensOut"] + answer.usage.completion_tokens
    assert after["bytesIn"] > before["bytesIn"]
    assert after["bytesOut"] > before["bytesOut"]


def test_stream_arrives_in_pieces_without_a_usage_chunk(
    stack: Stack, client: openai.OpenAI
) -> None:
    before = stack.usage()
    chunks = list(
        client.chat.completions.create(
            model=stack.ready["demo"]["model"], messages=ASK, stream=True
        )
    )
    assert len(chunks) > 2
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    after = until(
        lambda: (u := stack.usage())["calls"] > before["calls"] and u, "the stream in usage", 2
    )
    assert after["tokensOut"] > before["tokensOut"], (
        "usage was asked for although the client did not"
    )


def test_stream_with_usage_keeps_the_usage_chunk(stack: Stack, client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=stack.ready["demo"]["model"],
            messages=ASK,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert [chunk.usage is not None for chunk in chunks].count(True) == 1
    assert chunks[-1].usage is not None


def test_completions_embeddings_and_models(stack: Stack, client: openai.OpenAI) -> None:
    model = stack.ready["demo"]["model"]
    assert client.completions.create(model=model, prompt="Once").choices[0].text
    assert len(client.embeddings.create(model=model, input=["a", "b"]).data) == 2
    assert model in [listed.id for listed in client.models.list()]
    assert client.models.retrieve(model).id == model


def test_wrong_key_raises_authentication_error(stack: Stack) -> None:
    with (
        openai_client(stack, key="sk-not-ours") as stranger,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        stranger.models.list()
    assert refused.value.code == "invalid_api_key"


def test_unknown_model_raises_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="gpt-unheard-of", messages=ASK)
    assert refused.value.code == "model_not_found"


def test_suspended_tenant_raises_permission_denied(stack: Stack) -> None:
    tenant = stack.api("POST", "/api/tenants", json={"name": "Paused"})
    base = f"/api/tenants/{tenant['id']}"
    domain = stack.api("POST", f"{base}/domains", json={"domainName": "paused.localhost"})
    stack.api("POST", f"{base}/domains/{domain['id']}/verify", json={"method": "manual"})
    key = stack.api("POST", f"{base}/api-keys", json={"name": "k"})["key"]
    with openai_client(stack, key, "paused.localhost") as client:
        until(lambda: _models(client) == [], "the new tenant on the gateway")
        stack.api("POST", f"{base}/suspend", json={"reason": "unpaid"})
        refused = until(lambda: _refusal(client), "the suspension on the gateway", 10)
        assert isinstance(refused, openai.PermissionDeniedError)
        assert refused.code == "tenant_suspended"
        stack.api("POST", f"{base}/activate")
        until(lambda: _refusal(client) is None, "the tenant to be served again", 10)


def _models(client: openai.OpenAI) -> list[str] | None:
    try:
        return [model.id for model in client.models.list()]
    except openai.APIStatusError:
        return None


def _refusal(client: openai.OpenAI) -> openai.APIStatusError | None:
    try:
        client.models.list()
    except openai.APIStatusError as refused:
        return refused
    return None


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, openai.RateLimitError),
        (503, openai.InternalServerError),
        (500, openai.InternalServerError),
        (400, openai.BadRequestError),
    ],
)
def test_failures_of_the_upstream_reach_the_client(
    stack: Stack, client: openai.OpenAI, status: int, error: type[openai.APIStatusError]
) -> None:
    before = stack.usage()
    with pytest.raises(error) as failed:
        client.chat.completions.create(
            model=stack.ready["demo"]["model"],
            messages=[{"role": "user", "content": f"[demo status={status}]"}],
        )
    assert failed.value.status_code == status
    after = until(
        lambda: (u := stack.usage())["errors"] > before["errors"] and u, "the error in usage", 2
    )
    assert after["cost"] == before["cost"], "a failed call costs nothing"


def test_a_stream_cut_by_the_upstream_is_not_a_success(stack: Stack, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=stack.ready["demo"]["model"],
        messages=[{"role": "user", "content": "[demo chunks=8 cut_after=3]"}],
        stream=True,
        extra_headers={"X-Request-Id": "cut-by-upstream"},
    )
    with pytest.raises(openai.APIConnectionError):
        list(stream)
    event = until(
        lambda: [e for e in stack.usage_events() if e["requestId"] == "cut-by-upstream"],
        "the cut stream in usage",
        2,
    )[0]
    assert event["outcome"] == "aborted"
    assert event["statusCode"] == 200, "which is why the status proves nothing"
    assert event["events"] > 0


def test_an_end_user_calls_with_the_token_of_his_tenants_own_issuer(stack: Stack) -> None:
    with IdentityServer() as provider:
        issuers = f"/api/tenants/{stack.ready['demo']['tenantId']}/issuers"
        body = {"issuer": provider.url, "audiences": ["clinic"]}
        made = stack.api("POST", issuers, json=body)
        until(lambda: stack.api("GET", f"{issuers}/{made['id']}")["keys"], "its keys", 10)
        token = provider.token(aud="clinic", sub="patient-7", exp=now().timestamp() + 300)
        with openai_client(stack, key=token) as client:
            until(lambda: _answers(client, stack.ready["demo"]["model"]), "the token is taken", 5)
        (event, *_) = until(
            lambda: [each for each in stack.usage_events() if each["userId"] == "patient-7"],
            "the call in usage",
            5,
        )
        assert event["apiKeyId"] == made["id"]


def _answers(client: openai.OpenAI, model: str) -> bool:
    try:
        return bool(client.chat.completions.create(model=model, messages=ASK).choices)
    except openai.AuthenticationError:
        return False
