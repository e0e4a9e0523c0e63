"""Behind the gateway: an OpenAI-compatible server that we did not write (rolter's fake model)."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import requests

from tests.e2e.conftest import metered, offer, openai_client
from tests.stack import Stack, free_port, until

KEY = "sk-rolter-dev"


@pytest.fixture(scope="module")
def rolter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the base URL of a running rolter."""
    port = free_port()
    here = tmp_path_factory.mktemp("rolter")
    program = Path(sys.executable).with_name("rolter")
    process = subprocess.Popen(
        [program, "easy-up", "--gateway-port", str(port), "--control-port", str(free_port())],
        cwd=here,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/v1"
    until(lambda: process.poll() is not None or _answers(url), "rolter", 20)
    assert process.poll() is None
    yield url
    process.kill()  # when asked kindly it waits for the gateway's idle connections
    process.wait(10)


def _answers(url: str) -> bool:
    try:
        headers = {"Authorization": f"Bearer {KEY}"}
        return requests.get(f"{url}/models", headers=headers, timeout=1).ok
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def client(stack: Stack, rolter: str) -> Iterator[openai.OpenAI]:
    """Yield the demo tenant's client once the foreign model is callable."""
    with openai_client(stack) as made:
        parameters = {"model": "fake-llm"}
        offer(stack, made, "foreign", rolter, apiKey=KEY, parameters=parameters)
        yield made


def test_chat_stream_and_embeddings(stack: Stack, client: openai.OpenAI) -> None:
    ask = [{"role": "user", "content": "hello"}]
    whole = client.chat.completions.create(
        model="foreign", messages=ask, extra_headers={"X-Request-Id": "foreign-chat"}
    )
    assert whole.choices[0].message.content
    stream = client.chat.completions.create(
        model="foreign", messages=ask, stream=True, extra_headers={"X-Request-Id": "foreign-sse"}
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text.strip() == whole.choices[0].message.content.strip()
    vectors = client.embeddings.create(
        model="foreign",
        input="x",
        encoding_format="float",
        extra_headers={"X-Request-Id": "foreign-embed"},
    )
    assert vectors.data[0].embedding

    events = metered(stack, "foreign", 3)
    assert {e["outcome"] for e in events.values()} == {"complete"}
    assert {e["cost"] for e in events.values()} == {"0.003"}
    assert whole.usage is not None
    assert events["foreign-chat"]["tokensOut"] == whole.usage.completion_tokens
    # This server ends a stream without usage even when asked: that is unknown, never zero.
    assert events["foreign-sse"]["usageSource"] == "unknown"
    assert events["foreign-sse"]["tokensOut"] is None
