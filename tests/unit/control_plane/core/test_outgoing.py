"""Calls to URLs that somebody typed: none reaches a private address, whatever it is called."""

import contextlib
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import dns.message
import pytest
import requests

from control_plane.core import outgoing
from control_plane.core.outgoing import OutgoingError
from control_plane.core.settings import load_settings
from tests.authority import Authority
from tests.dns_server import DnsServer
from tests.http_server import HttpServer, send
from tests.unit.control_plane.core.test_base_urls import SPELLINGS


class Canary(HttpServer):
    """A server of loopback that counts its connections and notes what it is asked."""

    def __init__(self, *where: Any, **how: Any) -> None:
        super().__init__(*where, **how)
        self.asked: list[str] = []

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer as the path says."""
        self.asked.append(f"{request.headers['Host']} {request.path}")
        with contextlib.suppress(OSError):
            if request.path == "/slow":
                for _ in range(1000):  # a header that does not end
                    request.wfile.write(b"H")
                    request.wfile.flush()
                    time.sleep(0.01)
                return
            text = b"x" * (outgoing.MAX_BYTES + 1) if request.path == "/long" else b"ok"
            status = 302 if request.path == "/redirect" else 200
            send(request, status, text, Location="/elsewhere")


@pytest.fixture
def canary() -> Iterator[Canary]:
    with Canary() as made:
        yield made


@pytest.fixture
def names() -> Iterator[DnsServer]:
    with DnsServer() as made:
        yield made


def client(names: DnsServer, *, allow: str = "", ca_file: Path | None = None) -> requests.Session:
    environ = {"YUMEN_DNS_SERVERS": names.address, "YUMEN_SECURITY_UPSTREAM_ALLOW": allow}
    if ca_file is not None:
        environ["YUMEN_GATEWAY_CA_FILE"] = str(ca_file)
    made = requests.Session()
    outgoing.guard(made, load_settings(environ=environ))
    return made


def test_no_spelling_of_a_private_address_reaches_the_canary(
    canary: Canary, names: DnsServer
) -> None:
    tried = client(names)
    for spelling in SPELLINGS:
        for scheme in ("http", "https"):
            with pytest.raises((requests.RequestException, UnicodeError)):
                tried.get(f"{scheme}://{spelling}:{canary.port}/x")
    assert canary.connections == 0
    assert client(names, allow="127.0.0.0/8").get(f"http://127.0.0.1:{canary.port}/").text == "ok"
    assert canary.connections == 1


def test_a_name_of_a_private_address_does_not_reach_the_canary(
    canary: Canary, names: DnsServer
) -> None:
    names.records = {
        ("inside.test", "A"): ["127.0.0.1"],
        ("both.test", "A"): ["203.0.114.9", "127.0.0.1"],
        ("six.test", "AAAA"): ["::ffff:127.0.0.1"],
        ("alias.test", "CNAME"): ["inside.test."],
    }
    for name in ("inside.test", "both.test", "six.test", "alias.test"):
        with pytest.raises(OutgoingError, match="not a public address"):
            client(names).get(f"https://{name}:{canary.port}/")
    with pytest.raises(OutgoingError, match="does not resolve"):
        client(names).get(f"https://nothing.test:{canary.port}/")
    assert canary.connections == 0


def test_a_name_that_turns_after_it_was_judged_does_not_reach_the_canary(
    canary: Canary, names: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.ttl = 0
    names.records["turning.test", "A"] = ["127.0.0.2"]
    steady = names.answer

    def turning(query: dns.message.Message) -> dns.message.Message:
        given = steady(query)
        names.records["turning.test", "A"] = ["127.0.0.1"]
        return given

    monkeypatch.setattr(names, "answer", turning)
    tried = client(names, allow="127.0.0.2/32")
    url = f"http://turning.test:{canary.port}/"
    with Canary("127.0.0.2", canary.port) as allowed:
        assert tried.get(url).text == "ok"
        assert allowed.asked == [f"turning.test:{canary.port} /"]
        with pytest.raises(OutgoingError, match=r"leads to 127\.0\.0\.1"):
            tried.get(url)
    assert canary.connections == 0


def test_a_redirect_is_not_followed(canary: Canary, names: DnsServer) -> None:
    with pytest.raises(requests.TooManyRedirects):
        client(names, allow="127.0.0.0/8").get(f"http://127.0.0.1:{canary.port}/redirect")
    assert len(canary.asked) == 1


def test_no_proxy_of_the_environment_is_used(
    canary: Canary, names: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    answer = client(names, allow="127.0.0.0/8").get(f"http://127.0.0.1:{canary.port}/")
    assert answer.text == "ok"


def test_size_and_time_of_an_answer_are_bounded(
    canary: Canary, names: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.5)
    tried = client(names, allow="127.0.0.0/8")
    with pytest.raises(OutgoingError, match="too long"):
        tried.get(f"http://127.0.0.1:{canary.port}/long")
    began = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        tried.get(f"http://127.0.0.1:{canary.port}/slow")
    assert time.monotonic() - began < 8, "the server goes on for ten seconds"


def test_tls_proves_the_name_and_not_the_address(names: DnsServer, tmp_path: Path) -> None:
    names.records = {("a.test", "A"): ["127.0.0.1"], ("b.test", "A"): ["127.0.0.1"]}
    authority = Authority(tmp_path, "authority")
    with Canary(tls=authority.server("a.test")) as secure:
        tried = client(names, allow="127.0.0.0/8", ca_file=authority.file)
        assert tried.get(f"https://a.test:{secure.port}/").text == "ok"
        with pytest.raises(requests.exceptions.SSLError):
            tried.get(f"https://b.test:{secure.port}/")
        with pytest.raises(requests.exceptions.SSLError):
            client(names, allow="127.0.0.0/8").get(f"https://a.test:{secure.port}/")
    assert secure.asked == [f"a.test:{secure.port} /"]


def test_the_next_address_is_tried_when_the_first_refuses(canary: Canary, names: DnsServer) -> None:
    names.records["two.test", "A"] = ["127.0.0.3", "127.0.0.1"]
    answer = client(names, allow="127.0.0.0/8").get(f"http://two.test:{canary.port}/")
    assert answer.text == "ok"
