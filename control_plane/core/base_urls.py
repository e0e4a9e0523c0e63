"""Reads base URLs that somebody typed: of AI models, of identity providers.

The grammar is narrower than a URL's on purpose: whatever two parsers could read differently
(userinfo, other spellings of an IP address, escapes, Unicode dots) is refused, not interpreted.
Where such a URL leads is judged by `core.outgoing`.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from control_plane.core.addresses import Address

MAX_LENGTH = 1024
DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~@:+=,-]+)*)/?",
    re.ASCII,
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True)
class BaseUrl:
    """The parts of a base URL."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """The one spelling of this URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    @property
    def address(self) -> Address | None:
        """The host when it is an IP address, None when it is a name."""
        for kind in (IPv4Address, IPv6Address):
            try:
                return kind(self.host)
            except ValueError:
                continue
        return None

    @property
    def origin(self) -> tuple[str, str, int]:
        """Who answers there: a secret that was given for one origin is not another's."""
        return (self.scheme, self.host, self.port)


def parse(text: str) -> BaseUrl:
    """Return the parts of *text*, such as `https://api.example.com/v1`.

    Raises:
        ValueError: it is not such a URL; the message says what it must be.
    """
    match = _URL.fullmatch(_lower_head(text)) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise ValueError(
            "must be a base URL such as https://api.example.com/v1: a plain host name or IP "
            "address, without user name, query, fragment or escapes"
        )
    scheme, host, path = match["scheme"], match["host"], match["path"]
    if any(part in (".", "..") for part in path.split("/")):
        raise ValueError("must not have . or .. in its path")
    port = int(match["port"] or DEFAULT_PORTS[scheme])
    if port > 65535 or (port < 1024 and port not in DEFAULT_PORTS.values()):
        raise ValueError("must use port 80, 443 or one from 1024 to 65535")
    return BaseUrl(scheme, _host(host), port, path)


def _lower_head(text: str) -> str:
    """Lower the scheme and host, which are case-insensitive; the path is not."""
    scheme, separator, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    if not text.isascii():
        return ""
    return f"{scheme.lower()}{separator}{host.lower()}{slash}{path}"


def _host(text: str) -> str:
    """Return the host without brackets, refusing every spelling of an address but the usual one."""
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError as error:
            raise ValueError("must have a valid IPv6 address between the brackets") from error
    labels = text.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(text))
        except ValueError as error:
            raise ValueError("must write an IPv4 address as four decimal numbers") from error
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("must have a valid host name")
    return text
