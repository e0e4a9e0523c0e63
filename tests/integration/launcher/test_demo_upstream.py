"""The demo upstream through the official client, and by hand where the client hides the bytes."""

import contextlib
import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import requests
from requests.exceptions import ChunkedEncodingError

from tests.stack import YUMEN


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    command = [str(YUMEN), "demo-upstream", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert "no AI model" in line
        yield re.search(r"http://\S+", line).group()
        server.terminate()
    assert server.returncode == 0


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=10) as made:
        yield made


def chat(client: openai.OpenAI, text: str, **more: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="demo-chat", messages=messages, **more)


def post(base_url: str, text: str) -> requests.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return requests.post(f"{base_url}/chat/completions", json=body, timeout=10)


def test_it_says_what_it_is_and_repeats_the_question(client: openai.OpenAI) -> None:
    first, second = chat(client, "Hello 玉门"), chat(client, "Hello 玉门")
    content = first.choices[0].message.content
    assert "not an AI model" in content
    assert content.endswith("Hello 玉门")
    assert first == second
    assert first.usage.total_tokens == 2 + first.usage.completion_tokens


def test_a_stream_has_as_many_chunks_as_asked_and_its_usage(client: openai.OpenAI) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *pieces, end, usage = list(chat(client, "[demo chunks=5 delay_ms=1]", **options))
    assert [piece.choices[0].delta.content for piece in pieces] == [
        f"word{number} " for number in range(1, 6)
    ]
    assert end.choices[0].finish_reason == "stop"
    assert usage.usage.completion_tokens == 5


def test_a_stream_without_usage_when_nobody_asked(client: openai.OpenAI) -> None:
    assert all(chunk.usage is None for chunk in chat(client, "[demo chunks=2]", stream=True))


def test_completions_and_embeddings_and_models(client: openai.OpenAI) -> None:
    text = client.completions.create(model="m", prompt="[demo chunks=2]").choices[0].text
    assert text == "word1 word2"
    made = client.embeddings.create(model="m", input=["a", "b", "a"], dimensions=8)
    vectors = [item.embedding for item in made.data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert len(vectors[0]) == 8
    plain = client.embeddings.create(model="m", input="a", dimensions=8, encoding_format="float")
    assert plain.data[0].embedding == vectors[0]
    assert [model.id for model in client.models.list()] == ["demo-chat", "demo-embedding"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, openai.AuthenticationError),
        (429, openai.RateLimitError),
        (503, openai.InternalServerError),
    ],
)
def test_it_fails_as_asked(client: openai.OpenAI, status: int, expected: type) -> None:
    with pytest.raises(expected) as failure:
        chat(client, f"[demo status={status}]")
    assert failure.value.status_code == status


def test_it_breaks_off_a_stream_and_a_whole_answer(base_url: str) -> None:
    body = {"model": "m", "prompt": "[demo chunks=9 cut_after=2]", "stream": True}
    seen: list[bytes] = []
    with requests.post(f"{base_url}/completions", json=body, stream=True, timeout=10) as answer:
        assert answer.status_code == 200
        with pytest.raises(ChunkedEncodingError):
            seen.extend(iter(answer.iter_lines()))  # keeps what came before the break
    assert len([line for line in seen if line]) == 2
    with pytest.raises(ChunkedEncodingError):
        post(base_url, "[demo cut_after=0]")


def test_it_leaves_the_usage_out_and_compresses_and_echoes(base_url: str) -> None:
    assert "usage" not in post(base_url, "[demo usage=0]").json()
    packed = requests.post(
        f"{base_url}/completions",
        json={"model": "m", "prompt": "[demo gzip=1]"},
        headers={"Accept-Encoding": "identity"},
        stream=True,
        timeout=10,
    )
    assert packed.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.raw.read()))["object"] == "text_completion"
    body = '{"model":"m","n":12345678901234567890,"prompt":"[demo echo=1] a\\/b"}'
    echoed = requests.post(f"{base_url}/completions", data=body, timeout=10).json()
    assert echoed["choices"][0]["text"] == body


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"model": 1}', '{"model":"m","messages":[]}'])
def test_a_body_that_is_no_request_is_400(base_url: str, body: str) -> None:
    answer = requests.post(f"{base_url}/chat/completions", data=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_it_remembers_whom_it_served(base_url: str) -> None:
    root = base_url.removesuffix("/v1")
    requests.delete(f"{root}/demo/requests", timeout=10)
    for number, text in enumerate(["x", "[demo status=500]", "[demo chunks=2 cut_after=1]"]):
        with contextlib.suppress(ChunkedEncodingError):
            requests.post(
                f"{base_url}/completions",
                json={"model": "m", "prompt": text, "stream": True},
                headers={"X-Request-Id": f"id-{number}"},
                timeout=10,
            )
    path = "/v1/completions"
    assert requests.get(f"{root}/demo/requests", timeout=10).json()["requests"] == [
        {"id": "id-0", "path": path, "status": 200, "finished": True},
        {"id": "id-1", "path": path, "status": 500, "finished": True},
        {"id": "id-2", "path": path, "status": 200, "finished": False},
    ]
