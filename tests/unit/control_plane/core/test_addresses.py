"""Which addresses may be called."""

from ipaddress import ip_address, ip_network

import pytest

from control_plane.core.addresses import embedded, is_allowed, may_call

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::169.254.169.254",
    "::ffff:127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::10.0.0.1",
    "100::1",
    "2001::1",
    "2001:0:a9fe:a9fe::1",
    "2001:db8::1",
    "2002:a9fe:a9fe::",
    "2002:7f00:1::1",
    "3fff::1",
    "4000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2606:4700::5efe:169.254.169.254",
]


@pytest.mark.parametrize("text", PRIVATE)
def test_what_is_not_the_public_internet_is_refused(text: str) -> None:
    assert not may_call(ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.0", "2606:4700::1111"],
)
def test_public_addresses_may_be_called(text: str) -> None:
    assert may_call(ip_address(text))


def test_a_setting_allows_a_network_and_no_more() -> None:
    allowed = [ip_network("127.0.0.0/8")]
    assert may_call(ip_address("127.0.0.1"), allowed)
    assert not may_call(ip_address("10.0.0.1"), allowed)
    assert not may_call(ip_address("::1"), allowed)
    assert not may_call(ip_address("::ffff:127.0.0.1"), allowed)


def test_an_allowed_translation_prefix_does_not_allow_what_hides_behind_it() -> None:
    allowed = [ip_network("64:ff9b::/96")]
    assert may_call(ip_address("64:ff9b::8.8.8.8"), allowed)
    assert not may_call(ip_address("64:ff9b::169.254.169.254"), allowed)


def test_the_address_inside_a_tunnel_is_found() -> None:
    assert ip_address("169.254.169.254") in list(embedded(ip_address("2002:a9fe:a9fe::1")))
    assert ip_address("192.0.2.45") in list(
        embedded(ip_address("2001:0:4136:e378:8000:63bf:3fff:fdd2"))
    )
    assert list(embedded(ip_address("2606:4700::1111"))) == []


def test_being_allowed_is_not_the_same_as_being_public() -> None:
    assert not is_allowed(ip_address("1.1.1.1"), [ip_network("127.0.0.0/8")])
