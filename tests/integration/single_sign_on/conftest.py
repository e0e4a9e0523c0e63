"""A real provider, a control plane that may call it, and the provider's row in it."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.core.settings import Settings
from control_plane.tenants import Tenant
from tests import factories
from tests.factories import ANY
from tests.integration.single_sign_on.dishonest import DishonestProvider
from tests.oidc import CLIENT_ID, CLIENT_SECRET, Browser, OidcProvider

Add = Callable[..., Any]
PROVIDERS = "/api/identity-providers"


@pytest.fixture(scope="session")
def provider() -> Iterator[OidcProvider]:
    with OidcProvider() as started:
        yield started


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The installation's settings, by which providers may be on loopback."""
    security = dataclasses.replace(settings.security, upstream_allow=("127.0.0.0/8",))
    return dataclasses.replace(settings, security=security)


@pytest.fixture
def operate(client: FlaskClient, operator: Mapping[str, str]) -> Callable[..., Any]:
    """Make a request as the platform's administrator."""

    def operated(method: str, url: str, **request: Any) -> Any:
        return client.open(url, method=method.upper(), headers={**operator, **ANY}, **request)

    return operated


@pytest.fixture
def make_user(operate: Callable[..., Any]) -> Callable[..., Any]:
    """Make a user of a tenant (None: of the platform) with a password and an address."""

    def made(tenant: Tenant | None, **fields: Any) -> Any:
        body = {
            "username": "li",
            "email": "li@example.com",
            "role": "operator",
            "password": factories.PASSWORD,
            "tenantId": None if tenant is None else str(tenant.id),
            **fields,
        }
        answer = operate("post", "/api/users", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json

    return made


@pytest.fixture
def add(operate: Callable[..., Any], provider: OidcProvider) -> Add:
    """Add the provider to a tenant (None: to the platform), with what a test says of it."""

    def added(tenant: Tenant | None, **fields: Any) -> Any:
        body = {
            "name": "Company",
            "issuer": provider.issuer,
            "clientId": CLIENT_ID,
            "clientSecret": CLIENT_SECRET,
            "tenantId": None if tenant is None else str(tenant.id),
            **fields,
        }
        answer = operate("post", PROVIDERS, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json["id"]

    return added


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app.test_client())


@pytest.fixture
def liar() -> Iterator[DishonestProvider]:
    with DishonestProvider() as started:
        yield started


@pytest.fixture
def trusted(add: Add, liar: DishonestProvider, tenant: Tenant) -> str:
    """The liar's id, in whom a tenant trusts."""
    return str(add(tenant, issuer=liar.issuer, defaultRole="viewer"))
