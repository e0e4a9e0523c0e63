"""Where a request comes from: the client's address behind proxies, and the network it is in."""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from control_plane.core.addresses import Address, Network, is_allowed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

UNKNOWN_NETWORK = "unknown"

_NETWORK_BITS = {4: 24, 6: 64}


class ProxiedClients:
    """WSGI middleware that believes `X-Forwarded-For` when one of our own proxies says it."""

    def __init__(self, application: "WSGIApplication", proxies: Iterable[Network]) -> None:
        self._application = application
        self._proxies = tuple(proxies)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Serve one request."""
        forwarded = environ.get("HTTP_X_FORWARDED_FOR")
        if self._proxies and forwarded:
            chain = [*forwarded.split(","), environ.get("REMOTE_ADDR", "")]
            environ["REMOTE_ADDR"] = self._client(chain)
        return self._application(environ, start_response)

    def _client(self, chain: list[str]) -> str:
        """Return the last of *chain* that is no proxy of ours: what stands before it is hearsay."""
        seen = chain[-1].strip()
        for text in reversed(chain):
            address = _parsed(text.strip())
            if address is None:
                break
            seen = str(address)
            if not is_allowed(address, self._proxies):
                break
        return seen


def network_of(address: str | None) -> str:
    """Return the network that *address* is counted with: /24 of IPv4, /64 of IPv6."""
    parsed = _parsed(address or "")
    if parsed is None:
        return UNKNOWN_NETWORK
    return str(ip_network((parsed, _NETWORK_BITS[parsed.version]), strict=False))


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # Without its zone (`%eth0`), in which any text may stand.
        return address.ipv4_mapped or IPv6Address(int(address))
    return address
