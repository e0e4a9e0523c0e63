"""An identity provider of loopback, and an application that may call it."""

import dataclasses
from collections.abc import Iterator

import pytest

from control_plane.core.settings import Settings
from tests.identity_server import IdentityServer


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that allow servers on loopback."""
    security = dataclasses.replace(settings.security, upstream_allow=("127.0.0.0/8",))
    return dataclasses.replace(settings, security=security)


@pytest.fixture
def provider() -> Iterator[IdentityServer]:
    with IdentityServer() as server:
        yield server
