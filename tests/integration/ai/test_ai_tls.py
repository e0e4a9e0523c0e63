"""TLS to upstreams: verified by name, and never a connection for two names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.dns_server import DnsServer
from tests.integration.ai.conftest import Stage, open_stage
from tests.integration.ai.name_server import use_name_server
from tests.upstream import Upstream

NAMES = ["a.test", "b.test", "c.test"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    for directory in (made, *made.parents[:2]):
        directory.chmod(0o755)
    return Path(made)


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder, "authority")


@pytest.fixture(scope="module")
def secure(authority: Authority, folder: Path) -> Iterator[Stage]:
    """A gateway with two slots that trusts the authority; every name leads to the upstream."""
    settings = {
        "YUMEN_GATEWAY_CA_FILE": str(authority.file),
        "YUMEN_GATEWAY_UPSTREAM_SLOTS": "2",
    }
    names = [*NAMES, "other.test"]
    records = {(name, "A"): ["127.0.0.1"] for name in names}
    with (
        DnsServer(records) as name_server,
        Upstream(tls=authority.server(*NAMES)) as upstream,
        open_stage(upstream, **settings) as stage,
    ):
        use_name_server(stage.gateway, name_server.port, folder)
        models = {name: {"endpoint": _endpoint(name, upstream.port)} for name in names}
        stage.publish(**models)
        yield stage


def _endpoint(host: str, port: int) -> dict[str, object]:
    return {"scheme": "https", "host": host, "port": port, "path": "/v1"}


def test_names_behind_one_address_never_share_a_connection(secure: Stage) -> None:
    secure.upstream.reset()
    for _ in range(3):
        for name in NAMES[:2]:
            assert secure.post({"model": name}).status_code == 200
    for received in secure.upstream.received:
        host = received.headers["host"].split(":")[0]
        assert secure.upstream.names[received.connection] == host
    assert len({received.connection for received in secure.upstream.received}) == 2


def test_a_name_beyond_the_last_slot_gets_a_connection_for_each_call(secure: Stage) -> None:
    secure.upstream.reset()
    for name in NAMES[:2]:
        secure.post({"model": name})
    secure.upstream.received.clear()
    for _ in range(3):
        assert secure.post({"model": "c.test"}).status_code == 200
    connections = {received.connection for received in secure.upstream.received}
    assert len(connections) == 3
    assert {secure.upstream.names[number] for number in connections} == {"c.test"}
    assert "gateway.upstream_slots" in secure.gateway.error_log()


def test_a_certificate_for_another_name_is_refused(secure: Stage) -> None:
    secure.upstream.reset()
    response = secure.post({"model": "other.test"})
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_unreachable"
    assert not secure.upstream.received


def test_a_certificate_of_a_stranger_is_refused(secure: Stage, folder: Path) -> None:
    stranger = Authority(folder, "stranger")
    with Upstream(tls=stranger.server("a.test")) as upstream:
        secure.publish(strange={"endpoint": _endpoint("a.test", upstream.port)})
        response = secure.post({"model": "strange"})
        assert response.status_code == 502
        assert response.json()["error"]["code"] == "upstream_unreachable"
        assert not upstream.received
