"""`yumen demo-upstream`: a small OpenAI-compatible server that needs no model and no account.

It serves /v1/chat/completions, /v1/completions, /v1/embeddings and /v1/models, whatever the key.
`[demo …]` in a prompt asks for streams, delays and failures (control_plane/demo/directives.py).
GET /demo/requests lists the requests that arrived, newest last; DELETE forgets them.
"""

import asyncio
import gzip
import json
import signal
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Final

from control_plane.demo import answers
from control_plane.demo.directives import Directives, parse_directives
from control_plane.demo.http import MalformedError, Request, chunk, head, read_request

_REMEMBERED: Final = 200_000
_Route = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Served:
    """What the server remembers of a request that arrived."""

    id: str | None  # the X-Request-Id it came with
    path: str
    status: int = 0  # 0 until the answer begins
    finished: bool = False  # the whole answer was handed to the connection


class DemoUpstream:
    """Answers the connections of one listener."""

    def __init__(self) -> None:
        self._served: deque[Served] = deque(maxlen=_REMEMBERED)
        self._routes: dict[tuple[str, str], _Route] = {
            ("GET", "/v1/models"): self._list_models,
            ("POST", "/v1/chat/completions"): self._infer,
            ("POST", "/v1/completions"): self._infer,
            ("POST", "/v1/embeddings"): self._infer,
            ("GET", "/demo/requests"): self._list_served,
            ("DELETE", "/demo/requests"): self._forget_served,
        }

    async def serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one request after another until either side closes the connection."""
        try:
            while (request := await read_request(reader)) is not None:
                route = self._routes.get((request.method, request.path), self._not_found)
                await route(request, writer)
                await writer.drain()
                if writer.is_closing() or request.headers.get("connection") == "close":
                    break
        except MalformedError as error:
            _send(writer, answers.error(400, str(error)), status=400)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client left; there is nobody to tell.
        finally:
            writer.close()

    async def _list_models(self, _request: Request, writer: asyncio.StreamWriter) -> None:
        _send(writer, answers.models())

    async def _list_served(self, _request: Request, writer: asyncio.StreamWriter) -> None:
        _send(writer, answers.dump({"requests": [asdict(one) for one in self._served]}))

    async def _forget_served(self, _request: Request, writer: asyncio.StreamWriter) -> None:
        self._served.clear()
        _send(writer, answers.dump({"requests": []}))

    async def _not_found(self, request: Request, writer: asyncio.StreamWriter) -> None:
        message = f"The demo upstream has no {request.method} {request.path}."
        _send(writer, answers.error(404, message), status=404)

    async def _infer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        served = Served(request.headers.get("x-request-id"), request.path)
        self._served.append(served)
        try:
            directives, answer = _decide(request)
            served.status = 200
            if isinstance(answer, list):
                await _send_stream(writer, answer, directives)
            else:
                await _send_whole(writer, answer, directives)
        except answers.RefusedError as refused:
            served.status = refused.status
            await asyncio.sleep(refused.delay_seconds)
            _send(writer, answers.error(refused.status, str(refused)), status=refused.status)
        served.finished = not writer.is_closing()


def _decide(request: Request) -> tuple[Directives, bytes | list[bytes]]:
    """Return the whole answer, or a stream's events."""
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise answers.RefusedError("The body is not JSON.") from error
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise answers.RefusedError("The body must be an object with a model.")
    prompt = answers.read_prompt(body)
    directives = parse_directives(prompt)
    if directives.status != 200:
        raise answers.RefusedError(
            f"Failed with status {directives.status}, as asked.",
            directives.status,
            directives.delay_ms / 1000,
        )
    if request.path == "/v1/embeddings":
        return directives, answers.embeddings(body)
    completion = answers.complete(body, directives, prompt, request.body)
    if body.get("stream") is True:
        options = body.get("stream_options") or {}
        include_usage = options.get("include_usage") is True
        return directives, list(answers.stream(completion, include_usage=include_usage))
    return directives, answers.whole(completion)


def _send(
    writer: asyncio.StreamWriter, data: bytes, *, status: int = 200, encoding: str | None = None
) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(data))}
    if encoding:
        headers["Content-Encoding"] = encoding
    writer.write(head(status, headers) + data)


async def _send_whole(writer: asyncio.StreamWriter, data: bytes, directives: Directives) -> None:
    await asyncio.sleep(directives.delay_ms / 1000)
    if directives.cut_after >= 0:
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        writer.write(head(200, headers) + data[: len(data) // 2])
        writer.close()
    elif directives.gzip:
        _send(writer, gzip.compress(data, mtime=0), encoding="gzip")
    else:
        _send(writer, data)


async def _send_stream(
    writer: asyncio.StreamWriter, events: list[bytes], directives: Directives
) -> None:
    headers = {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache",
        "Transfer-Encoding": "chunked",
    }
    cut = directives.cut_after if directives.cut_after >= 0 else len(events)
    writer.write(head(200, headers))
    for event in events[:cut]:
        if directives.delay_ms:
            await asyncio.sleep(directives.delay_ms / 1000)
        writer.write(chunk(event))
        await writer.drain()
    if cut < len(events):
        writer.close()
    else:
        writer.write(chunk(b""))


async def serve(host: str, port: int, on_listening: Callable[[int], None]) -> None:
    """Serve until SIGTERM or SIGINT; tell the port once connections are taken."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    upstream = DemoUpstream()
    server = await asyncio.start_server(upstream.serve_connection, host, port, backlog=1024)
    on_listening(server.sockets[0].getsockname()[1])
    await stopped.wait()
    server.close()


def run(host: str, port: int, on_listening: Callable[[int], None]) -> None:
    """Serve in this process until it is told to stop."""
    asyncio.run(serve(host, port, on_listening))
