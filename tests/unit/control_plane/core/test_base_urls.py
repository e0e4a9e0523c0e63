"""Base URLs: what is read, and the many spellings of a private address that are refused."""

from ipaddress import ip_network
from typing import Any

import pytest

from control_plane.core import base_urls, outgoing
from control_plane.core.dns import Resolver

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]

# One host, written in every way that some resolver, parser or browser takes for a private one.
SPELLINGS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.000.000.001",
    "2130706433",
    "02130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0X7F.0X0.0X0.0X1",
    "127.0x0.0.1",
    "0177.0x0.0.1",
    "127.0.0.0x1",
    "127.0.0.00000001",
    "127.0.0.256",
    "4294967296127",
    "0",
    "0.0.0.0",
    "0x0",
    "00",
    "1.2.3.4.5",
    "127。0。0。1",
    "127．0．0．1",
    "127｡0｡0｡1",
    "１２７.0.0.1",
    "①②⑦.0.0.1",
    "127.0.0.1%00",
    "127.0.0.1%2f",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "lo\u00adcalhost",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001::a9fe:a9fe]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[::1",
    "::1",
    "[127.0.0.1]",
    "[v1.x]",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "100.64.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "user@127.0.0.1",
    "api.example.com@127.0.0.1",
    "api.example.com:443@127.0.0.1",
    "127.0.0.1\\@api.example.com",
    "127.0.0.1#api.example.com",
    "127.0.0.1?api.example.com",
    "api.example.com\t.localhost",
    "api.example.com\n",
    "",
    ".",
    "-a.example.com",
    "a..example.com",
]


class NoServers(Resolver):
    """A resolver that no server answers."""

    def _look_up(self, name: str, kind: str) -> list[Any]:
        return []


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_no_spelling_of_a_private_address_passes(scheme: str, spelling: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|leads)"):
        outgoing.judged(base_urls.parse(f"{scheme}://{spelling}/v1"), [], NoServers())


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(set(SPELLINGS)) >= 60


@pytest.mark.parametrize(
    ("text", "host", "port", "path", "spelling"),
    [
        ("https://api.openai.com/v1", "api.openai.com", 443, "/v1", "https://api.openai.com/v1"),
        ("HTTPS://API.Example.COM/V1/", "api.example.com", 443, "/V1", None),
        ("https://1.1.1.1:8443", "1.1.1.1", 8443, "", "https://1.1.1.1:8443"),
        ("https://[2606:4700:0::1111]/v1", "2606:4700::1111", 443, "/v1", None),
        ("https://x.example.com:443/a/b", "x.example.com", 443, "/a/b", None),
    ],
)
def test_a_base_url_is_read_into_its_parts(
    text: str, host: str, port: int, path: str, spelling: str | None
) -> None:
    url = base_urls.parse(text)
    assert (url.host, url.port, url.path) == (host, port, path)
    assert base_urls.parse(url.url) == url
    assert spelling is None or url.url == spelling


@pytest.mark.parametrize(
    "text",
    [
        "https://api.example.com:0/v1",
        "https://api.example.com:22/v1",
        "https://api.example.com:65536/v1",
        "https://api.example.com:0443/v1",
        "https://api.example.com:/v1",
        "https://api.example.com:+443/v1",
        "https://api.example.com/v1?x=1",
        "https://api.example.com/v1#x",
        "https://api.example.com/a/../b",
        "https://api.example.com/a/./b",
        "https://api.example.com//v1",
        "https://api.example.com/%2e%2e",
        "https://api.example.com/v1\r\nHost: x",
        "https://api.example.com/v1\x00",
        "https://api.example.com/v1 ",
        " https://api.example.com/v1",
        "https:/api.example.com/v1",
        "//api.example.com/v1",
        "ftp://api.example.com/v1",
        "gopher://api.example.com/v1",
        "https://api.example.com/$host",
        "https://api.example.com/" + "a" * 1100,
    ],
)
def test_what_is_not_a_plain_base_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        base_urls.parse(text)


def test_plain_http_needs_an_allowed_network() -> None:
    for text in ("http://127.0.0.1:9000/v1", "http://localhost:9000/v1", "http://[::1]:9000"):
        outgoing.judged(base_urls.parse(text), LOOPBACK, NoServers())
    for text in ("http://1.1.1.1/v1", "http://unknown.example.com/v1", "http://10.0.0.1/v1"):
        with pytest.raises(ValueError, match=r"https|public"):
            outgoing.judged(base_urls.parse(text), LOOPBACK, NoServers())


def test_a_name_that_does_not_resolve_is_accepted() -> None:
    outgoing.judged(base_urls.parse("https://not-yet.example.com/v1"), [], NoServers())
