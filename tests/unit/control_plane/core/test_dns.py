"""Look-ups in the DNS, asked of a server of the test's own."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from control_plane.core.clock import monotonic
from control_plane.core.dns import DnsError, Resolver
from tests.dns_server import DnsServer


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


def test_addresses_of_both_families_are_found(dns_server: DnsServer) -> None:
    dns_server.records["api.example.com", "A"] = ["192.0.2.1", "192.0.2.2"]
    dns_server.records["api.example.com", "AAAA"] = ["2001:db8::1"]
    found = Resolver([dns_server.address]).addresses("api.example.com")
    assert sorted(map(str, found)) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]


def test_the_strings_of_a_text_are_joined(dns_server: DnsServer) -> None:
    dns_server.records["example.com", "TXT"] = ['"a" "b"', '"玉"']
    assert sorted(Resolver([dns_server.address]).texts("example.com")) == ["ab", "玉"]


def test_a_name_without_records_has_none(dns_server: DnsServer) -> None:
    resolver = Resolver([dns_server.address])
    assert (resolver.addresses("gone.example.com"), resolver.texts("gone.example.com")) == ([], [])


def test_localhost_is_never_asked_of_a_server(dns_server: DnsServer) -> None:
    resolver = Resolver([dns_server.address])
    assert resolver.addresses("localhost") == [ip_address("127.0.0.1")]
    assert resolver.addresses("demo.localhost") == [ip_address("127.0.0.1")]
    assert not dns_server.asked


def test_a_server_that_is_silent_is_not_waited_for_twice() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        started = monotonic()
        assert Resolver([address], timeout_seconds=1).addresses("api.example.com") == []
        assert monotonic() - started < 1.9
        with pytest.raises(DnsError):
            Resolver([address], timeout_seconds=0.1).texts("api.example.com")


def test_a_server_that_fails_says_nothing_of_a_name(dns_server: DnsServer) -> None:
    dns_server.fails = True
    resolver = Resolver([dns_server.address])
    assert resolver.addresses("api.example.com") == []
    with pytest.raises(DnsError):
        resolver.texts("api.example.com")


@pytest.mark.parametrize("text", ["192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:53"])
def test_a_server_is_named_by_address_and_port(text: str) -> None:
    Resolver([text])


@pytest.mark.parametrize("text", ["dns.example.com", "192.0.2.1:x", ""])
def test_a_server_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|invalid literal"):
        Resolver([text])
