"""What tests of routes and upstreams share: upstreams that can be named, and bodies."""

import pytest
from flask.testing import FlaskClient

from control_plane.tenants import Tenant
from tests.unit.control_plane.routing.bodies import UPSTREAM


@pytest.fixture
def upstream_id(client: FlaskClient, operator: dict[str, str], tenant: Tenant) -> str:
    body = {**UPSTREAM, "tenantId": str(tenant.id)}
    answer = client.post("/api/upstreams", json=body, headers=operator)
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])
