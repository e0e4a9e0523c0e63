"""The body scanner against Python's json: ranges, refusals and splices over 12,000 documents."""

import json
import random
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.lua_runtime import lua_module

SEEDS = st.integers(min_value=0, max_value=2**48)
POLICED = {
    "model": lambda v: isinstance(v, str),
    "stream": lambda v: v is None or isinstance(v, bool),
    "stream_options": lambda v: v is None or isinstance(v, dict),
    "max_tokens": lambda v: v is None or type(v) is int,
    "max_completion_tokens": lambda v: v is None or type(v) is int,
    "n": lambda v: v is None or type(v) is int,
}
OTHER = (
    "messages",
    "temperature",
    "stop",
    "tools",
    "user",
    "Stop",
    "größe",
    "",
    "a\\b",
    'q"q',
    "😀",
)
TRICKY = ("Model", "MODEL", "\u017ftream", "max_to\u212aens", "N", "mod\u200bel", "stream_Options")

LUA, BODY = lua_module("yumen.ai.body")


@dataclass
class Reference:
    """What Python makes of a document: the raw range of each top-level value, in order."""

    text: str
    names: list[str] = field(default_factory=list)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    close: int = 0

    def __post_init__(self) -> None:
        decoder = json.JSONDecoder()
        at = self._space(0) + 1
        at = self._space(at)
        while self.text[at] != "}":
            name, at = scanstring(self.text, at + 1)
            at = self._space(self._space(at) + 1)
            _, end = decoder.raw_decode(self.text, at)
            self.names.append(name)
            self.ranges.append((at, end))
            at = self._space(end)
            if self.text[at] == ",":
                at = self._space(at + 1)
        self.close = at

    def _space(self, at: int) -> int:
        while self.text[at : at + 1] and self.text[at] in " \t\r\n":
            at += 1
        return at


class Writer:
    """Writes random JSON texts, with random space and random escapes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def space(self) -> str:
        return "".join(self.random.choices(" \t\r\n", k=self.random.choice((0, 0, 0, 0, 1, 3))))

    def string(self, text: str) -> str:
        parts = []
        for character in text:
            if self.random.random() < 0.15:
                units = character.encode("utf-16-be")
                parts += [f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)]
            else:
                parts.append(json.dumps(character, ensure_ascii=False)[1:-1])
        return '"' + "".join(parts) + '"'

    def text(self) -> str:
        return "".join(
            self.random.choices('ab"\\{}[],:\n/é😀\u2028 \x7f', k=self.random.randrange(12))
        )

    def scalar(self) -> str:
        number = self.random.choice(("0", "-0", "12", "1e3", "-1.5E-7", "9223372036854775807"))
        return self.random.choice((number, "true", "false", "null", self.string(self.text())))

    def value(self, depth: int = 0) -> str:
        kind = self.random.randrange(4 if depth < 4 else 2)
        if kind < 2:
            return self.scalar()
        items = [self.value(depth + 1) for _ in range(self.random.randrange(4))]
        if kind == 2:
            return "[" + self.joined(items) + "]"
        members = [self.string(self.text()) + self.space() + ":" + v for v in items]
        return "{" + self.joined(members) + "}"

    def joined(self, items: list[str]) -> str:
        return ",".join(self.space() + item + self.space() for item in items) or self.space()

    def policed_value(self, name: str) -> str:
        if self.random.random() < 0.1:
            return self.value()
        if name == "model":
            return self.string(self.random.choice(("m", "gpt-4o", "größe/ä", 'a"b')))
        if name == "stream":
            return self.random.choice(("true", "false", "null"))
        if name == "stream_options":
            usage = self.random.choice(
                ("", '"include_usage":true', '"include_usage" : false', '"x":1')
            )
            return self.random.choice(("null", "{}", "{ }", "{" + usage + "}"))
        return self.random.choice(("1", "-1", "null", "100"))

    def document(self) -> str:
        chosen = ["model"] if self.random.random() < 0.95 else []
        chosen += self.random.sample(list(POLICED)[1:], self.random.randrange(4))
        chosen += self.random.choices(OTHER, k=self.random.randrange(5))
        if self.random.random() < 0.15:
            chosen.append(self.random.choice(TRICKY))
        if self.random.random() < 0.15:
            chosen.append(self.random.choice(list(POLICED)))
        self.random.shuffle(chosen)
        members = []
        for name in chosen:
            value = self.policed_value(name) if name in POLICED else self.value()
            members.append(self.string(name) + self.space() + ":" + self.space() + value)
        return self.space() + "{" + self.joined(members) + "}" + self.space()

    def mutilated(self) -> bytes:
        data = bytearray(self.document().encode())
        for _ in range(self.random.randrange(1, 3)):
            at = self.random.randrange(len(data) + 1)
            choice = self.random.randrange(3)
            if choice == 0:
                del data[at : at + self.random.randrange(1, 3)]
            elif choice == 1:
                data[at:at] = self.random.choice(
                    (b'"', b"\\", b"{", b"}", b",", b"\0", b"'", b"/", b"]")
                )
            else:
                data[at:at] = data[at : at + self.random.randrange(1, 20)]
        return bytes(data)


def folds(name: str) -> str:
    folded = name.casefold().replace("\u0131", "i")
    return "".join(c for c in folded if c.isascii())


def acceptable(pairs: list[tuple[str, object]]) -> bool:
    """Tell by the rules, from what Python decoded, whether the gateway must accept."""
    names = [name for name, _ in pairs]
    if "model" not in names or any("\0" in name for name in names):
        return False
    for name, value in pairs:
        if name not in POLICED:
            if folds(name) in POLICED:
                return False
        elif names.count(name) > 1 or not POLICED[name](value) or _holds_nul(value):
            return False
        elif name == "stream_options" and value:
            usage = [v for k, v in value.items() if folds(k) == "include_usage"]
            if len(usage) > 1 or not all(v is None or isinstance(v, bool) for v in usage):
                return False
    return True


def _holds_nul(value: object) -> bool:
    return isinstance(value, str) and "\0" in value


def scan(data: bytes) -> dict[str, object] | None:
    found = BODY.scan(data)
    if isinstance(found, tuple):
        assert found[0] is None
        assert found[1]
        return None
    return {"model": found.model.decode(errors="replace"), "stream": found.stream}


def parsed(data: bytes) -> list[tuple[str, object]] | None:
    """What a strict parser makes of *data*: the top-level pairs, or None."""
    top: list[list[tuple[str, object]]] = []

    def note(pairs: list[tuple[str, object]]) -> dict[str, object]:
        top.append(pairs)
        return dict(pairs)

    try:
        value = json.loads(data.decode(), object_pairs_hook=note, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return top[-1] if isinstance(value, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


PLAN = BODY.new_plan(
    b'"upstream/model"',
    LUA.execute(
        b"""return {
            { name = "temperature", value = "0.5", member = ',"temperature":0.5', enforced = true },
            { name = "seed", value = "7", member = ',"seed":7' },
            { name = "stop", value = "[]", member = ',"stop":[]' },
        }"""
    ),
)


def expected_splice(text: str, *, usage: bool) -> str | None:
    """Splice by the ranges that Python found; None: the enforced parameter is doubled."""
    reference = Reference(text)
    at = dict(zip(reference.names, reference.ranges, strict=True))
    if reference.names.count("temperature") > 1:
        return None
    edits = [(*at["model"], '"upstream/model"')]
    if "temperature" in at:
        edits.append((*at["temperature"], "0.5"))
    tail = "" if "temperature" in at else ',"temperature":0.5'
    tail += ',"seed":7'
    tail += "" if "stop" in at else ',"stop":[]'
    if usage:
        tail += _edit_usage(reference, at, edits)
    edits.append((reference.close, reference.close, tail))
    for begin, end, new in sorted(edits, reverse=True):
        text = text[:begin] + new + text[end:]
    return text


def _edit_usage(
    reference: Reference, at: dict[str, tuple[int, int]], edits: list[tuple[int, int, str]]
) -> str:
    if "stream_options" not in at:
        return ',"stream_options":{"include_usage":true}'
    begin, end = at["stream_options"]
    raw = reference.text[begin:end]
    if raw == "null":
        edits.append((begin, end, '{"include_usage":true}'))
        return ""
    inner = Reference(raw)
    if "include_usage" in inner.names:
        first, last = inner.ranges[inner.names.index("include_usage")]
        edits.append((begin + first, begin + last, "true"))
    else:
        comma = "," if inner.names else ""
        edits.append((begin + 1, begin + 1, '"include_usage":true' + comma))
    return ""


@settings(max_examples=120, deadline=None)
@given(SEEDS)
def test_sound_documents_are_judged_and_spliced_as_python_reads_them(seed: int) -> None:
    writer = Writer(seed)
    for _ in range(60):
        text = writer.document()
        pairs = parsed(text.encode())
        assert pairs is not None, text
        found = scan(text.encode())
        assert (found is not None) == acceptable(pairs), text
        if found is None:
            continue
        values = dict(pairs)
        assert found == {"model": values["model"], "stream": values.get("stream") is True}, text
        usage = writer.random.random() < 0.5
        spliced = BODY.splice(PLAN, usage)
        expected = expected_splice(text, usage=usage)
        if expected is None:
            assert isinstance(spliced, tuple), text
        else:
            assert spliced.decode() == expected, text


@settings(max_examples=120, deadline=None)
@given(SEEDS)
def test_mutilated_documents_never_pass_as_something_else(seed: int) -> None:
    writer = Writer(seed)
    for _ in range(60):
        data = writer.mutilated()
        found, pairs = scan(data), parsed(data)
        if pairs is not None:
            assert (found is not None) == acceptable(pairs), data
        if found is not None and pairs is not None:
            assert found["model"] == dict(pairs)["model"], data


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        (b"", None, "no body"),
        (b"\xef\xbb\xbf{}", None, "byte order mark"),
        ('{"model":"m"}'.encode("utf-16"), None, "byte order mark"),
        ('{"model":"m"}'.encode("utf-16-le"), None, "byte order mark"),
        (b'{"model":"m","x":"\0"}', None, "NUL"),
        (b'{"model":"m"}{"model":"n"}', None, "nothing after it"),
        (b'[{"model":"m"}]', None, "no JSON object"),
        (b'{"model":"m","model":"n"}', b"model", "twice"),
        (b'{"model":"m","\\u006dodel":"n"}', b"model", "twice"),
        (b'{"model":"m","model\\u0000":"n"}', None, "wrong escape"),
        (b'{"model":"m","\\model":"n"}', None, "wrong escape"),
        (b'{"model":"m","mod\xffel":"n"}', b"model", "lower case"),
        (b'{"model":"m",/*"*/"x":1}', None, "double quotes"),
        (b'{"model":"m","x":{/*"*/}}', None, "comment"),
        (b"{'model':'m'}", None, "double quotes"),
        (b'{"model":"m","x":[{]}', None, "do not match"),
        (b'{"model":"m","x":[', None, "closing bracket"),
        (b'{"messages":[]}', b"model", "missing"),
        (b'{"model":"m","stream":"true"}', b"stream", "true or false"),
        (b'{"model":"m","max_tokens":1.5}', b"max_tokens", "an integer"),
        (b'{"model":"m","stream_options":{"include_usage":true,"Include_Usage":false}}',
         b"stream_options.include_usage", "lower case"),
        (b'{"model":"m","x":' + b"[" * 256 + b"]" * 256 + b"}", None, "256 deep"),
        (b'{"model":"m"' + b"".join(b',"k%d":1' % i for i in range(256)) + b"}", None,
         "256 fields"),
    ],
)  # fmt: skip
def test_what_could_be_read_differently_is_refused(body: bytes, field: bytes, says: str) -> None:
    result = BODY.scan(body)
    assert result[0] is None
    assert says in result[1].decode()
    assert (result[2] if len(result) > 2 else None) == field


def test_the_limits_themselves_pass() -> None:
    deep = b'{"model":"m","x":' + b"[" * 255 + b"]" * 255 + b"}"
    wide = b'{"model":"m"' + b"".join(b',"k%d":1' % i for i in range(255)) + b"}"
    assert scan(deep)
    assert scan(wide)


def test_what_is_not_spliced_arrives_byte_for_byte() -> None:
    body = '{ "model":"m", "stop":[], "u":"a\\/b/ü", "id": 1234567890123456789, "x":{} }'
    assert scan(body.encode())
    spliced = BODY.splice(BODY.new_plan(b'"n"', LUA.table()), False)
    assert spliced.decode() == body.replace('"m"', '"n"', 1)
