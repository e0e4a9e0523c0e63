"""A service client of a tenant, and how it gets its tokens."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient

from control_plane.tenants import Tenant

Ask = Callable[..., Any]


@pytest.fixture
def service_client(
    client: FlaskClient, operator: Mapping[str, str], tenant: Tenant
) -> dict[str, Any]:
    """A client with the role operator, and its secret."""
    body = {"name": "nightly", "role": "operator", "tenantId": str(tenant.id)}
    answer = client.post("/api/service-clients", json=body, headers=operator)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json
    return made


@pytest.fixture
def ask(client: FlaskClient, service_client: Mapping[str, Any]) -> Ask:
    """Ask for a token with the form that a good client sends, changed as a test says."""

    def asked(**changed: Any) -> Any:
        form = {
            "grant_type": "client_credentials",
            "client_id": service_client["id"],
            "client_secret": service_client["clientSecret"],
            **changed,
        }
        return client.post(
            "/api/oauth/token", data={name: value for name, value in form.items() if value}
        )

    return asked


@pytest.fixture
def token(ask: Ask) -> dict[str, str]:
    """The header of a request by the service client."""
    return {"Authorization": f"Bearer {ask().json['access_token']}"}
