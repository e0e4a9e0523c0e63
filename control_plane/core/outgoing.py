"""Calls URLs that somebody typed, or that such a URL led to: the guard against SSRF.

A name is looked up here, all its addresses are judged, and the connection goes to an address that
was judged: nobody asks the DNS a second time. Redirects are not followed, proxies of the
environment are not used, and size and time of an answer are bounded.
"""

import io
import socket
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError

from control_plane.core import base_urls
from control_plane.core.addresses import Address, Network, is_allowed, may_call, networks
from control_plane.core.base_urls import BaseUrl
from control_plane.core.dns import Resolver
from control_plane.core.errors import Invalid
from control_plane.core.settings import Settings

MAX_BYTES = 1 << 20
"""Longest answer that is read."""

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 6.0
"""How long an answer may take from the connection on, however slowly it comes."""


class OutgoingError(requests.RequestException):
    """A URL must not be called, or what it answers must not be read."""


def judged(url: BaseUrl, allowed: Sequence[Network], resolver: Resolver) -> list[Address]:
    """Return the addresses of *url*, none when its name does not resolve.

    Raises:
        ValueError: it leads into a private network that *allowed* does not name, or is plain http
            to anywhere else; the message names the setting.
    """
    literal = url.address
    addresses = [literal] if literal is not None else resolver.addresses(url.host)
    for address in addresses:
        if not may_call(address, allowed):
            raise ValueError(
                f"leads to {address}, which is not a public address; "
                "the setting security.upstream_allow can allow its network"
            )
    if url.scheme == "http" and not (
        addresses and all(is_allowed(address, allowed) for address in addresses)
    ):
        raise ValueError(
            "must use https: plain http is only for hosts in the networks of the setting "
            "security.upstream_allow"
        )
    return addresses


def refuse_private(field: str, url: str, settings: Settings) -> None:
    """Check a base URL that somebody wants to save in *field*.

    A name that does not resolve yet passes: it is judged again at each call.

    Raises:
        Invalid: it must not be called.
    """
    allowed = networks(settings.security.upstream_allow)
    try:
        judged(base_urls.parse(url), allowed, Resolver(settings.dns.servers))
    except ValueError as error:
        raise Invalid.field(field, f"The {field} {error}.") from error


def guard(session: requests.Session, settings: Settings) -> None:
    """Let all that *session* sends go through the guard; a redirect is an error.

    What it sends raises `requests.RequestException`: as `OutgoingError` when it was refused.
    """
    session.trust_env = False
    session.max_redirects = 0
    session.headers["Accept-Encoding"] = "identity"
    session.adapters.clear()
    guarded = _Guarded(settings)
    for prefix in ("https://", "http://"):
        session.mount(prefix, guarded)


class _Guarded(BaseAdapter):
    """Sends a request to an address that was judged, and reads the bounded answer."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._allowed = networks(settings.security.upstream_allow)
        self._resolver = Resolver(settings.dns.servers)
        self._ca_file = settings.gateway.ca_file

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Send *request*; what the caller says of time limits, TLS and proxies is not heard."""
        parts = urlsplit(str(request.url))
        try:
            url = base_urls.parse(f"{parts.scheme}://{parts.netloc}")
            addresses = judged(url, self._allowed, self._resolver)
        except ValueError as error:
            raise OutgoingError(f"The URL {error}.", request=request) from error
        if not addresses:
            raise OutgoingError(f"The name {url.host} does not resolve.", request=request)
        request.headers["Host"] = parts.netloc
        for address in addresses[:-1]:
            try:
                return self._sent(request, url, address)
            except requests.ConnectionError as error:
                if not _never_connected(error):
                    raise
        return self._sent(request, url, addresses[-1])

    def close(self) -> None:
        """Close nothing: each request has its own connection."""

    def _sent(
        self, request: requests.PreparedRequest, url: BaseUrl, address: Address
    ) -> requests.Response:
        pinned = _Pinned(url, address)
        limits = (CONNECT_SECONDS, TOTAL_SECONDS)
        try:
            answer = pinned.send(request, stream=True, timeout=limits, verify=self._ca_file)
            body = bytearray()
            for chunk in answer.raw.stream(1 << 16, decode_content=False):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise OutgoingError("The answer is too long.", request=request)
        except requests.RequestException:
            raise
        except (HTTPError, OSError) as error:
            raise requests.ConnectionError(error, request=request) from error
        finally:
            pinned.close()
        answer.raw = io.BytesIO(bytes(body))
        return answer


class _Pinned(HTTPAdapter):
    """Connects to one address, whatever the DNS says by now; TLS still proves the name."""

    def __init__(self, url: BaseUrl, address: Address) -> None:
        super().__init__(pool_maxsize=1)
        self._url = url
        self._address = address
        self.poolmanager.pool_classes_by_scheme = {"http": _TimedPool, "https": _TimedTlsPool}

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        """Return the connection to the address, whatever URL or proxy is asked for."""
        url = self._url
        proved = {"server_hostname": url.host, "assert_hostname": url.host}
        return self.poolmanager.connection_from_host(
            str(self._address), url.port, url.scheme, proved if url.scheme == "https" else None
        )


class _Timed(HTTPConnection):
    """A connection that is cut when its time is over: a limit for each read would not end."""

    _timer: threading.Timer | None = None

    def connect(self) -> None:
        """Connect, and let the time run."""
        super().connect()
        self._timer = threading.Timer(TOTAL_SECONDS, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def close(self) -> None:
        """Close the connection, whose time no longer matters."""
        super().close()
        if self._timer is not None and self._timer.is_alive():
            self._timer.cancel()

    def _cut(self) -> None:
        try:
            if self.sock is not None:
                self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed at this very moment


class _TimedTls(_Timed, HTTPSConnection):
    """The same over TLS."""


class _TimedPool(HTTPConnectionPool):
    ConnectionCls = _Timed


class _TimedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTls


def _never_connected(error: requests.ConnectionError) -> bool:
    """Tell whether nothing was sent, so that another address may be tried."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError) or isinstance(error, requests.ConnectTimeout)
