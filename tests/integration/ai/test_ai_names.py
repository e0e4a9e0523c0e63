"""Names of upstreams: how they are looked up, kept, and checked at every look-up."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dns_server import DnsServer
from tests.integration.ai.conftest import Stage, open_stage
from tests.integration.ai.name_server import use_name_server
from tests.stack import until
from tests.upstream import Upstream

HERE = ["127.0.0.1"]


@pytest.fixture(scope="module")
def name_server() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@pytest.fixture(scope="module")
def named_stage(
    name_server: DnsServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("names")
    for directory in (folder, *folder.parents[:2]):
        directory.chmod(0o755)
    with Upstream() as upstream, open_stage(upstream) as stage:
        use_name_server(stage.gateway, name_server.port, Path(folder))
        yield stage


@pytest.fixture
def names(name_server: DnsServer) -> DnsServer:
    name_server.records.clear()
    name_server.asked.clear()
    name_server.is_silent = False
    name_server.ttl = 300
    return name_server


def point(stage: Stage, host: str) -> None:
    """Let model `named` be served at *host*."""
    endpoint = {"scheme": "http", "host": host, "port": stage.upstream.port, "path": "/v1"}
    stage.publish(named={"endpoint": endpoint})


def call(stage: Stage) -> tuple[int, str]:
    """Call model `named`; return status and error code."""
    response = stage.post({"model": "named"})
    code = "" if response.ok else response.json()["error"]["code"]
    return response.status_code, code


def test_a_name_is_asked_for_once_in_its_time(named_stage: Stage, names: DnsServer) -> None:
    names.records["a.test", "A"] = HERE
    point(named_stage, "a.test")
    for _ in range(5):
        assert call(named_stage) == (200, "")
    assert names.asked == {"a.test": 1}


def test_aliases_are_followed(named_stage: Stage, names: DnsServer) -> None:
    names.records["alias.test", "CNAME"] = ["real.test."]
    names.records["real.test", "A"] = HERE
    point(named_stage, "alias.test")
    assert call(named_stage) == (200, "")


def test_short_names_are_looked_for_in_the_search_domains(
    named_stage: Stage, names: DnsServer
) -> None:
    names.records["short.cluster.test", "A"] = HERE
    point(named_stage, "short")
    assert call(named_stage) == (200, "")


def test_the_hosts_file_comes_first(named_stage: Stage, names: DnsServer) -> None:
    point(named_stage, "hosts-file.test")
    assert call(named_stage) == (200, "")
    assert not names.asked


def test_a_name_that_turns_to_a_private_address_is_refused(
    named_stage: Stage, names: DnsServer
) -> None:
    names.ttl = 1
    names.records["rebind.test", "A"] = HERE
    point(named_stage, "rebind.test")
    assert call(named_stage) == (200, "")
    names.records["rebind.test", "A"] = ["10.0.0.1"]
    refused = (502, "upstream_forbidden")
    until(lambda: call(named_stage) == refused, "the new address is refused", 10)


def test_of_several_addresses_only_allowed_ones_are_used(
    named_stage: Stage, names: DnsServer
) -> None:
    names.records["mixed.test", "A"] = ["169.254.169.254", "127.0.0.1", "10.0.0.1"]
    point(named_stage, "mixed.test")
    for _ in range(4):
        assert call(named_stage) == (200, "")


def test_an_ipv6_address_is_checked_too(named_stage: Stage, names: DnsServer) -> None:
    names.records["six.test", "AAAA"] = ["::1"]
    point(named_stage, "six.test")
    assert call(named_stage) == (502, "upstream_forbidden")
    names.records["mapped.test", "AAAA"] = ["::ffff:10.0.0.1"]
    point(named_stage, "mapped.test")
    assert call(named_stage) == (502, "upstream_forbidden")


def test_a_missing_name_is_not_asked_for_again_at_once(
    named_stage: Stage, names: DnsServer
) -> None:
    point(named_stage, "missing.test")
    for _ in range(3):
        assert call(named_stage) == (502, "upstream_unreachable")
    assert names.asked["missing.test"] == 2  # A and AAAA


def test_traffic_goes_on_while_the_name_server_is_away(
    named_stage: Stage, names: DnsServer
) -> None:
    names.ttl = 1
    names.records["stale.test", "A"] = HERE
    point(named_stage, "stale.test")
    assert call(named_stage) == (200, "")
    names.is_silent = True
    names.asked.clear()

    slowest = 0.0

    def asked_again() -> bool:
        nonlocal slowest
        begin = time.monotonic()
        assert call(named_stage) == (200, "")
        slowest = max(slowest, time.monotonic() - begin)
        return names.asked["stale.test"] > 2

    until(asked_again, "the name was asked for again", 10)
    assert slowest < 1, "a call waited for the name server"
