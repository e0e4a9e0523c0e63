"""The little HTTP/1.1 that the demo upstream speaks: read a request, write an answer."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

MAX_BODY_BYTES: Final = 64 * 1024 * 1024


class MalformedError(Exception):
    """The bytes on the connection are no request that this server understands."""


@dataclass(frozen=True)
class Request:
    """One request, its header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read the next request; None when the client has closed the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if end.partial:
            raise MalformedError("the connection ended within a request") from end
        return None
    except asyncio.LimitOverrunError as error:
        raise MalformedError("the header is too large") from error
    request_line, *lines = head[:-4].decode("latin-1").split("\r\n")
    try:
        method, target, _version = request_line.split(" ")
        pairs = [line.split(":", 1) for line in lines]
        headers = {name.lower(): value.strip() for name, value in pairs}
        length = int(headers.get("content-length", "0"))
    except ValueError as error:
        raise MalformedError("the request line or a header is malformed") from error
    if "transfer-encoding" in headers or not 0 <= length <= MAX_BODY_BYTES:
        raise MalformedError("a body needs a Content-Length of at most 64 MB")
    body = await reader.readexactly(length) if length else b""
    return Request(method, target.partition("?")[0], headers, body)


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return a status line and headers."""
    lines = [f"HTTP/1.1 {status} {_reason(status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def chunk(data: bytes) -> bytes:
    """Frame one piece of a chunked body; nothing is its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)
