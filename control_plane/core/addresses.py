"""Decides which IP addresses Yumen may call on somebody's word: the guard against SSRF.

The list is explicit: `ipaddress.is_global` takes the NAT64, 6to4 and IPv4-compatible forms of
169.254.169.254 for public addresses. In IPv6 only 2000::/3 is the public Internet, so everything
outside it is refused, with the prefixes inside it that carry an IPv4 address or lead nowhere.
"""

from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

REFUSED: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform service, reachable from every virtual machine
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/3",  # loopback, IPv4-mapped, IPv4-compatible, NAT64, discard
        "4000::/2",  # not assigned
        "8000::/1",  # unique local, link-local, site-local, multicast
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)

# Prefixes whose last 32 bits are an IPv4 address: mapped, translated, compatible, NAT64.
_LOW_32_BITS = tuple(
    IPv6Network(text)
    for text in ("::ffff:0:0/96", "::ffff:0:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48")
)
_ISATAP = (0x00005EFE, 0x02005EFE)


def parse(text: str) -> Address:
    """Return the address that *text* is, which must not name a zone (`%eth0`).

    Raises:
        ValueError: it is no address, or has a zone: what follows its `%` may be any text.
    """
    _refuse_zone(text)
    return ip_address(text)


def networks(texts: Iterable[str]) -> list[Network]:
    """Return the networks that a setting names, such as `127.0.0.0/8`.

    Raises:
        ValueError: one is no network, or has a zone.
    """
    found = []
    for text in texts:
        _refuse_zone(text)
        found.append(ip_network(text, strict=False))
    return found


def _refuse_zone(text: str) -> None:
    if "%" in text:
        raise ValueError(f"{text!r} names a zone, which cannot be taken here")


def embedded(address: Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that a translator or tunnel would take out of *address*."""
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_unspecified:
        return
    number = int(address)
    isatap = (number >> 32) & 0xFFFFFFFF in _ISATAP
    if isatap or any(address in network for network in _LOW_32_BITS):
        yield IPv4Address(number & 0xFFFFFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


def may_call(address: Address, allowed: Iterable[Network] = ()) -> bool:
    """Tell whether *address* is on the public Internet or in one of the *allowed* networks.

    Allowing a translation prefix such as 64:ff9b::/96 does not allow what hides behind it: the
    IPv4 address inside is judged as well.
    """
    known = tuple(allowed)
    return all(_may_call(each, known) for each in (address, *embedded(address)))


def is_allowed(address: Address, allowed: Iterable[Network]) -> bool:
    """Tell whether *address* itself is in one of the *allowed* networks."""
    return any(address in network for network in allowed)


def _may_call(address: Address, allowed: tuple[Network, ...]) -> bool:
    return is_allowed(address, allowed) or not is_allowed(address, REFUSED)
