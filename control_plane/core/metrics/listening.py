"""Answers Prometheus at `/metrics`, on a port that answers nothing else."""

import http.server
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PATH = "/metrics"
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_CLIENT_SECONDS = 5.0
_LOOK_SECONDS = 0.2

Tell = Callable[[], bytes]


class OwnListener:
    """WSGI: answers what comes in on the port of the metrics, and hands on everything else.

    The port is that of the socket that was connected to, which no header of a request changes.
    """

    def __init__(self, app: "WSGIApplication", port: int, tell: Tell) -> None:
        self._app = app
        self._port = str(port)
        self._tell = tell

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer a request."""
        if environ["SERVER_PORT"] != self._port:
            return self._app(environ, start_response)
        if environ["PATH_INFO"] != _PATH or environ["REQUEST_METHOD"] != "GET":
            start_response("404 Not Found", [("Content-Length", "0")])
            return []
        body = self._tell()
        start_response("200 OK", [("Content-Type", _TYPE), ("Content-Length", str(len(body)))])
        return [body]


def serve(host: str, port: int, tell: Tell, stop: threading.Event) -> None:
    """Answer, one request after the other, until *stop* is set.

    Raises:
        OSError: the port cannot be had.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = _CLIENT_SECONDS

        def do_GET(self) -> None:
            if self.path != _PATH:
                self.send_error(404)
                return
            body = tell()
            self.send_response(200)
            self.send_header("Content-Type", _TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: Prometheus asks four times a minute."""

    with _server(host, port, Handler) as server:
        server.timeout = _LOOK_SECONDS
        while not stop.is_set():
            server.handle_request()


def _server(
    host: str, port: int, handler: type[http.server.BaseHTTPRequestHandler]
) -> socketserver.TCPServer:
    class Server(socketserver.TCPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        allow_reuse_address = True

    return Server((host, port), handler)
