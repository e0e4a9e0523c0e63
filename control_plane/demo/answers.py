"""Answers of the demo upstream: OpenAI-shaped bodies, the same for the same request."""

import base64
import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from control_plane.demo.directives import Directives

CREATED: Final = 1735689600  # a fixed moment: the same question gets the same bytes
MODELS: Final = ("demo-chat", "demo-embedding")
_GREETING: Final = (
    "This is Yumen's demo upstream, a small program and not an AI model. Your message arrived:"
)
_DIMENSIONS: Final = 16
_MAX_DIMENSIONS: Final = 4096


class RefusedError(Exception):
    """The request gets an error for an answer."""

    def __init__(self, message: str, status: int = 400, delay_seconds: float = 0) -> None:
        super().__init__(message)
        self.status = status
        self.delay_seconds = delay_seconds


@dataclass(frozen=True)
class Completion:
    """One answer before it has a form: a chat, a plain completion, whole or streamed."""

    kind: str  # "chat.completion" or "text_completion"
    model: str
    prompt: str
    words: tuple[str, ...]
    with_usage: bool

    @property
    def id(self) -> str:
        """Return an identifier that follows from the question."""
        digest = hashlib.sha256(f"{self.model}\n{self.prompt}".encode()).hexdigest()
        return f"{'chatcmpl' if self.is_chat else 'cmpl'}-demo-{digest[:16]}"

    @property
    def is_chat(self) -> bool:
        """Tell a chat from a plain completion."""
        return self.kind == "chat.completion"

    @property
    def usage(self) -> dict[str, int]:
        """Count words as tokens."""
        asked, answered = len(self.prompt.split()), len(self.words)
        return {
            "prompt_tokens": asked,
            "completion_tokens": answered,
            "total_tokens": asked + answered,
        }


def complete(
    body: Mapping[str, Any], directives: Directives, prompt: str, raw: bytes
) -> Completion:
    """Decide the words of an answer."""
    chat = "messages" in body
    if directives.echo:
        words: tuple[str, ...] = (raw.decode(errors="replace"),)
    elif directives.chunks:
        words = tuple(f"word{number} " for number in range(1, directives.chunks + 1))
    else:
        words = tuple(f"{word} " for word in f"{_GREETING} {prompt}".split())
    return Completion(
        kind="chat.completion" if chat else "text_completion",
        model=str(body["model"]),
        prompt=prompt,
        words=words,
        with_usage=bool(directives.usage),
    )


def read_prompt(body: Mapping[str, Any]) -> str:
    """Return what the user said last, or the plain prompt or input."""
    if "messages" in body:
        messages = body["messages"]
        if not isinstance(messages, list) or not messages:
            raise RefusedError("messages must be a list with at least one message")
        said = [m.get("content") for m in messages if isinstance(m, dict) and m.get("content")]
        return _text(said[-1]) if said else ""
    return _text(body.get("prompt", body.get("input", "")))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(
            _text(part.get("text", "") if isinstance(part, dict) else part) for part in content
        )
    return str(content)


def whole(completion: Completion) -> bytes:
    """Return the answer in one piece."""
    text = "".join(completion.words).strip()
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None}
    if completion.is_chat:
        choice["message"] = {"role": "assistant", "content": text}
    else:
        choice["text"] = text
    answer: dict[str, Any] = {
        "id": completion.id,
        "object": completion.kind,
        "created": CREATED,
        "model": completion.model,
        "choices": [choice],
    }
    if completion.with_usage:
        answer["usage"] = completion.usage
    return dump(answer)


def stream(completion: Completion, *, include_usage: bool) -> Iterator[bytes]:
    """Yield the answer as server-sent events: one a word, the end, the usage, `[DONE]`."""
    envelope: dict[str, Any] = {
        "id": completion.id,
        "object": "chat.completion.chunk" if completion.is_chat else completion.kind,
        "created": CREATED,
        "model": completion.model,
    }
    if include_usage:
        envelope["usage"] = None
    for number, word in enumerate(completion.words):
        yield _event({**envelope, "choices": [_piece(completion, word, first=number == 0)]})
    yield _event({**envelope, "choices": [_piece(completion, None, first=False)]})
    if include_usage and completion.with_usage:
        yield _event({**envelope, "choices": [], "usage": completion.usage})
    yield b"data: [DONE]\n\n"


def _piece(completion: Completion, word: str | None, *, first: bool) -> dict[str, Any]:
    piece: dict[str, Any] = {"index": 0, "finish_reason": "stop" if word is None else None}
    if not completion.is_chat:
        return piece | {"text": word or ""}
    delta = {} if word is None else {"content": word}
    return piece | {"delta": {"role": "assistant", **delta} if first else delta}


def _event(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + dump(chunk) + b"\n\n"


def embeddings(body: Mapping[str, Any]) -> bytes:
    """Return one vector a text, made from its SHA-256."""
    given = body.get("input", [])
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise RefusedError("input must be a text or a list of texts")
    dimensions = body.get("dimensions", _DIMENSIONS)
    if not isinstance(dimensions, int) or not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise RefusedError(f"dimensions must be between 1 and {_MAX_DIMENSIONS}")
    as_base64 = body.get("encoding_format") == "base64"
    vectors = [_vector(str(text), dimensions) for text in texts]
    tokens = sum(len(str(text).split()) for text in texts)
    return dump(
        {
            "object": "list",
            "model": body["model"],
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": _packed(vector) if as_base64 else vector,
                }
                for index, vector in enumerate(vectors)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _vector(text: str, dimensions: int) -> list[float]:
    bits = hashlib.shake_256(text.encode()).digest(dimensions)
    return [byte / 128 - 1 for byte in bits]


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def models() -> bytes:
    """List the demo's models; any other name is answered too."""
    return dump(
        {
            "object": "list",
            "data": [
                {"id": name, "object": "model", "created": CREATED, "owned_by": "yumen-demo"}
                for name in MODELS
            ],
        }
    )


def error(status: int, message: str) -> bytes:
    """Return an error in OpenAI's form."""
    kind = {429: "rate_limit_error", 401: "authentication_error", 403: "permission_error"}.get(
        status, "server_error" if status >= 500 else "invalid_request_error"
    )
    return dump({"error": {"message": message, "type": kind, "param": None, "code": None}})


def dump(value: object) -> bytes:
    """Return compact JSON with its unicode unescaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
