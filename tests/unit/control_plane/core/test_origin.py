"""Where a request comes from, also when proxies stand before the control plane."""

from collections.abc import Iterable
from typing import Any

import pytest

from control_plane.core.addresses import networks
from control_plane.core.origin import ProxiedClients, network_of


def seen(proxies: Iterable[str], peer: str, forwarded: str | None) -> str:
    """Return the address that an application behind the middleware sees."""
    found: list[str] = []

    def application(environ: dict[str, Any], _start: Any) -> list[bytes]:
        found.append(environ["REMOTE_ADDR"])
        return []

    environ = {"REMOTE_ADDR": peer}
    if forwarded is not None:
        environ["HTTP_X_FORWARDED_FOR"] = forwarded
    ProxiedClients(application, networks(proxies))(environ, lambda *_: lambda _: None)
    return found[0]


OURS = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "client"),
    [
        ((), "203.0.113.9", "198.51.100.1", "203.0.113.9"),
        (OURS, "203.0.113.9", "198.51.100.1", "203.0.113.9"),
        (OURS, "10.0.0.1", None, "10.0.0.1"),
        (OURS, "10.0.0.1", "198.51.100.1", "198.51.100.1"),
        (OURS, "10.0.0.1", "1.2.3.4, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        (OURS, "10.0.0.1", "1.2.3.4,nonsense", "10.0.0.1"),
        (OURS, "10.0.0.1", "10.0.0.3", "10.0.0.3"),
        (OURS, "fd00::1", "2001:db8::1", "2001:db8::1"),
        (OURS, "fd00::1", "2001:db8::1%<anything>", "2001:db8::1"),
        (OURS, "::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
    ],
)
def test_only_our_own_proxies_are_believed(
    proxies: Iterable[str], peer: str, forwarded: str | None, client: str
) -> None:
    assert seen(proxies, peer, forwarded) == client


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.0/24"),
        ("::ffff:203.0.113.9", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_addresses_are_counted_by_network(address: str | None, network: str) -> None:
    assert network_of(address) == network
