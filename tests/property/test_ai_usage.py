"""The usage watchers against Python's json, for any chunking of answers and event streams."""

import gzip
import json
import random
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.lua_runtime import lua_module

SEEDS = st.integers(min_value=0, max_value=2**48)
_, JSON_USAGE = lua_module("yumen.ai.json_usage")
_, SSE = lua_module("yumen.ai.sse")
_, TOKENS = lua_module("yumen.ai.tokens")
_, INFLATE = lua_module("yumen.ai.inflate")

USAGE = {"prompt_tokens": 3, "details": {"x": [1, '}"']}, "completion_tokens": 4}
NOISE = ('"usage":{"prompt_tokens":9}', "}{][", '\\"', "\\", "é😀", "data: [DONE]\n\n", "usage", "")


def chunks(chance: random.Random, data: bytes) -> list[bytes]:
    size = chance.choice((1, 2, 3, 7, 40, 1000))
    cut = []
    while data:
        length = chance.randrange(size + 1)  # an empty chunk now and then
        cut.append(data[:length])
        data = data[length:]
    return cut


def noise(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(5 if depth < 3 else 3)
    if kind < 2:
        return "".join(chance.choices(NOISE, k=chance.randrange(4)))
    if kind == 2:
        return chance.choice((1, -2.5e9, None, True))
    items = [noise(chance, depth + 1) for _ in range(chance.randrange(4))]
    keys = ("usage", "a", 'q"', "choices", "\\")
    return items if kind == 3 else dict(zip(chance.sample(keys, len(items)), items, strict=True))


def answer(chance: random.Random) -> tuple[str, dict[str, Any]]:
    members = {f"k{i}": noise(chance) for i in range(chance.randrange(4))}
    if chance.random() < 0.8:
        members["usage"] = chance.choice((USAGE, USAGE, None, {}, [USAGE], "x"))
    names = list(members)
    chance.shuffle(names)
    document = {name: members[name] for name in names}
    indent = chance.choice((None, 2))
    return json.dumps(document, indent=indent, ensure_ascii=chance.random() < 0.5), document


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_json_usage_is_exact_for_any_chunking(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(50):
        text, document = answer(chance)
        watch = JSON_USAGE.new()
        for chunk in chunks(chance, text.encode()):
            assert not watch.whole, text
            JSON_USAGE.feed(watch, chunk)
        assert watch.whole, text
        expected = document.get("usage")
        found = json.loads(watch.usage) if watch.usage is not None else None
        assert found == (expected if isinstance(expected, dict) else None), text


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_an_answer_cut_short_is_never_whole(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        data = answer(chance)[0].encode()
        watch = JSON_USAGE.new()
        for chunk in chunks(chance, data[: chance.randrange(len(data))]):
            JSON_USAGE.feed(watch, chunk)
        assert not watch.whole, data


@pytest.mark.parametrize("body", [b"", b"[]", b"upstream said no", b"}{}", b'"{}"'])
def test_what_is_no_object_is_never_whole(body: bytes) -> None:
    watch = JSON_USAGE.new()
    JSON_USAGE.feed(watch, body)
    assert not watch.whole


def stream(chance: random.Random) -> tuple[list[tuple[bytes, bool, bool]], bytes]:
    """Return events as (bytes, carries data, holds only usage), and the line end they use."""
    end = chance.choice(("\n", "\n", "\r\n", "\r"))
    events = []
    for index in range(chance.randrange(6)):
        kind = chance.randrange(6)
        if kind == 0:
            lines, data, usage = [": ping", "id: 7"], False, False
        elif kind == 1:
            document = json.dumps({"choices": [], "usage": USAGE}, indent=chance.choice((None, 1)))
            lines, data, usage = [f"data: {line}" for line in document.split("\n")], True, True
        elif kind == 2:
            lines = ["data:" + json.dumps({"choices": [{"i": index}], "usage": USAGE})]
            data, usage = True, False
        elif kind == 3:
            lines = ["event: x", 'data: {"choices":[],"usage":null}']
            data, usage = True, False
        else:
            text = "".join(chance.choices(NOISE, k=2))
            lines, data, usage = ["data: " + json.dumps({"choices": [text]})], True, False
        events.append((end.join([*lines, "", ""]).encode(), data, usage))
    return events, end.encode()


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_streams_are_counted_and_stripped_exactly(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        events, end = stream(chance)
        done = b"data: [DONE]" + end + end * chance.randrange(2)
        finished = chance.random() < 0.7
        data = b"".join(event for event, _, _ in events) + (done if finished else b"")
        strip = chance.random() < 0.5
        watch = SSE.new(strip)
        out = b"".join(SSE.feed(watch, chunk) for chunk in chunks(chance, data))
        out += SSE.finish(watch)
        kept = [e for e, _, only_usage in events if not (strip and only_usage)]
        expected = b"".join(kept) + (done if finished else b"")
        # A line feed of a CRLF pair may go away with the event behind it; lines stay the same.
        assert lines_of(out) == lines_of(expected), data
        if not strip:
            assert out == data
        assert watch.terminal == finished, data
        assert watch.events == sum(carries for _, carries, _ in events) + finished, data
        assert (watch.usage is not None) == any(b'"prompt_tokens"' in e and not _quoted(e)
                                                for e, _, _ in events), data  # fmt: skip


def _quoted(event: bytes) -> bool:
    return b'\\"prompt_tokens' in event


def lines_of(text: bytes) -> list[bytes]:
    return [line for line in text.splitlines() if line]


def test_only_the_incomplete_event_is_held_back() -> None:
    watch = SSE.new(True)
    assert SSE.feed(watch, b'data: {"a":1}\n\ndata: {"b') == b'data: {"a":1}\n\n'
    assert SSE.feed(watch, b'":2}\n') == b""
    assert SSE.feed(watch, b"\n") == b'data: {"b":2}\n\n'


def test_nothing_is_held_back_when_nothing_is_stripped() -> None:
    watch = SSE.new(False)
    assert SSE.feed(watch, b'data: {"a') == b'data: {"a'


def test_an_event_over_the_cap_goes_by_unread() -> None:
    watch = SSE.new(True)
    big = b"data: " + b"x" * (1 << 20)
    assert SSE.feed(watch, big) == big
    assert SSE.feed(watch, b"yyy") == b"yyy"
    assert SSE.feed(watch, b"\n\ndata: [DONE]\n\n") == b"\n\ndata: [DONE]\n\n"
    assert watch.events == 2
    assert watch.terminal


def test_an_error_event_is_seen() -> None:
    watch = SSE.new(True)
    SSE.feed(watch, b'data: {"id":"x","error":{"message":"no"}}\n\n')
    assert watch.failed


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        (b"gzip", gzip.compress),
        (b"x-gzip", gzip.compress),
        (b"deflate", zlib.compress),
        (b"deflate", lambda data: zlib.compress(data, wbits=-15)),
    ],
)
def test_a_compressed_answer_is_decoded_for_any_chunking(encoding: bytes, encode: Any) -> None:
    text = json.dumps({"x": "y" * 200_000, "usage": USAGE}).encode()
    for seed in range(20):
        decoder = INFLATE.new(encoding)
        cut = chunks(random.Random(seed), encode(text))
        assert b"".join(INFLATE.feed(decoder, chunk) for chunk in cut) == text


def test_an_unknown_encoding_or_unsound_data_is_told() -> None:
    assert INFLATE.new(b"br") is None
    assert INFLATE.feed(INFLATE.new(b"gzip"), b"not gzip at all") is None


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, (3, 4, 0, 0)),
        ({"prompt_tokens": 3, "total_tokens": 3}, (3, 0, 0, 0)),
        (
            {
                "completion_tokens_details": {"reasoning_tokens": 2, "x": None},
                "prompt_tokens_details": {"audio_tokens": 9, "cached_tokens": 1},
                "completion_tokens": 4,
                "prompt_tokens": 3,
            },
            (3, 4, 1, 2),
        ),
        ({"prompt_tokens": 3, "prompt_tokens_details": None}, (3, 0, 0, 0)),
        ({"prompt_tokens": 4294967295, "completion_tokens": 4294967296}, (4294967295, 0, 0, 0)),
        ({"prompt_tokens": -1, "completion_tokens": 1.5}, (0, 0, 0, 0)),
        ({"prompt_tokens": "3"}, None),
        ({"completion_tokens": 3}, None),
        ({}, None),
    ],
)
def test_token_counts_are_read(usage: Any, counts: tuple[int, ...] | None) -> None:
    assert TOKENS.read(json.dumps(usage).encode()) == counts
