"""What tests of the room ai_models share."""

import dataclasses
from collections.abc import Iterator

import pytest

from control_plane.core.settings import DnsSettings, Settings
from tests.dns_server import DnsServer


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@pytest.fixture
def settings(settings: Settings, dns_server: DnsServer) -> Settings:
    """Settings that allow upstreams on loopback and ask the test's DNS server."""
    return dataclasses.replace(
        settings,
        dns=DnsSettings(servers=(dns_server.address,)),
        security=dataclasses.replace(settings.security, upstream_allow=("127.0.0.0/8",)),
    )
