"""Looks names up in the DNS: by the system's servers, or by those that the settings name."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import dns.exception
import dns.nameserver
import dns.resolver

from control_plane.core.addresses import Address

_LOCALHOST = ip_address("127.0.0.1")


class DnsError(Exception):
    """No server said whether a name has such records."""


class Resolver:
    """A DNS client."""

    def __init__(self, servers: Sequence[str] = (), *, timeout_seconds: float = 2.0) -> None:
        """Ask *servers*, each `address` or `address:port`; with none, those of the system."""
        self._servers = [_nameserver(text) for text in servers]
        self._timeout_seconds = timeout_seconds

    def addresses(self, name: str) -> list[Address]:
        """Return the IPv4 and IPv6 addresses of *name*, an empty list when none are known."""
        if name == "localhost" or name.endswith(".localhost"):
            return [_LOCALHOST]  # RFC 6761: never asked of a server
        found: list[Address] = []
        for kind in ("A", "AAAA"):
            try:
                found += [ip_address(record.address) for record in self._look_up(name, kind)]
            except DnsError:
                break  # the second question would only wait as long again
        return found

    def texts(self, name: str) -> list[str]:
        """Return the TXT records of *name*, the strings of each record joined.

        Raises:
            DnsError: no server said whether there are any.
        """
        records = self._look_up(name, "TXT")
        return [b"".join(record.strings).decode("utf-8", "replace") for record in records]

    def _look_up(self, name: str, kind: str) -> list[Any]:
        try:
            return list(self._resolver().resolve(name, kind, search=False))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise DnsError(str(error)) from error

    def _resolver(self) -> dns.resolver.Resolver:
        # Made for each look-up, so that a changed /etc/resolv.conf is followed.
        resolver = dns.resolver.Resolver(configure=not self._servers)
        if self._servers:
            resolver.nameservers = list(self._servers)
        resolver.lifetime = self._timeout_seconds
        return resolver


def _nameserver(text: str) -> dns.nameserver.Nameserver:
    """Read `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1` or `[2001:db8::1]:53`."""
    host, port = text, "53"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    return dns.nameserver.Do53Nameserver(str(ip_address(host)), int(port))
