"""An upstream that does exactly what the test says, byte by byte, and keeps what it was sent."""

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

ANSWER = (
    b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,'
    b'"completion_tokens":7,"total_tokens":18,"prompt_tokens_details":{"cached_tokens":4},'
    b'"completion_tokens_details":{"reasoning_tokens":2}}}'
)
CHUNK = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"hi"}}],"usage":null}\n\n'
USAGE_CHUNK = (
    b'data: {"id":"x","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7}}\n\n'
)
DONE = b"data: [DONE]\n\n"


@dataclass
class Received:
    """One request as it came over the wire."""

    head: bytes
    body: bytes
    connection: int

    @property
    def line(self) -> str:
        """The request line."""
        return self.head.split(b"\r\n", 1)[0].decode()

    @property
    def headers(self) -> dict[str, str]:
        """The headers, names in lower case."""
        pairs = (line.split(b":", 1) for line in self.head.split(b"\r\n")[1:] if line)
        return {name.decode().lower(): value.strip().decode() for name, value in pairs}


Script = Callable[[socket.socket, Received], None]


def respond(
    body: bytes = ANSWER, status: str = "200 OK", kind: str = "application/json", **headers: str
) -> Script:
    """Answer with a whole response; header names are written with underscores."""

    def script(connection: socket.socket, _: Received) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    return script


def chunked(*parts: bytes, kind: str = "text/event-stream", finished: bool = True) -> Script:
    """Answer in HTTP chunks; without the last one when not *finished*, and hang up."""

    def script(connection: socket.socket, _: Received) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        for part in parts:
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        if finished:
            connection.sendall(b"0\r\n\r\n")
        else:
            raise ConnectionAbortedError

    return script


def raw(data: bytes) -> Script:
    """Send these bytes and hang up."""

    def script(connection: socket.socket, _: Received) -> None:
        connection.sendall(data)
        raise ConnectionAbortedError

    return script


@dataclass
class Upstream:
    """Listens on a loopback port; `script` answers every request until it is changed.

    `names` holds the server name that each TLS connection asked for.
    """

    script: Script = field(default_factory=respond)
    address: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    names: dict[int, str | None] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._listener = socket.create_server((self.address, 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close every connection, as a server does with idle ones."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def reset(self, script: Script | None = None) -> None:
        """Forget what came, and answer by *script* from now on."""
        self.script = script or respond()
        self.received.clear()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            number = self.connections
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self.tls:
                self.tls.sni_callback = lambda _, name, __: self.names.update({number: name})
                connection = self.tls.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            while request := _read_request(connection, number):
                self.received.append(request)
                self.script(connection, request)
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            connection.close()


def _read_request(connection: socket.socket, number: int) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    request = Received(head, body, number)
    length = int(request.headers.get("content-length", 0))
    while len(request.body) < length:
        more = connection.recv(65536)
        if not more:
            return None
        request.body += more
    return request
