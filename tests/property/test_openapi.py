"""Every answer is as the OpenAPI document says, whatever is sent and whoever sends it."""

import collections
from collections.abc import Mapping
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from control_plane.core import plugins, tenancy
from control_plane.core.auth import Role
from control_plane.core.database import Database
from control_plane.core.known_fields import known_fields, masked_contacts
from control_plane.identity import User
from control_plane.identity.service import roles
from control_plane.tenants import Tenant
from tests import factories
from tests.factories import ANY
from tests.operations import make_one_of_each

EXAMPLES = 4
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def statuses_of(
    operation: Any, headers: Mapping[str, str], ids: Mapping[str, str]
) -> collections.Counter[int]:
    """Try one operation with made-up requests for things that exist; count statuses by hundreds."""
    statuses: collections.Counter[int] = collections.Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def conforms(case: schemathesis.Case) -> None:
        case.path_parameters.update({n: ids[n] for n in case.path_parameters if n in ids})
        answer = case.call_and_validate(headers=dict(headers), checks=CHECKS)
        statuses[answer.status_code // 100] += 1

    conforms()
    return statuses


def _limited(database: Database) -> User:
    """Make somebody who may do everything, and from whom every second field is kept."""
    permissions = [each.name for each in plugins.permissions()]
    kept = {name: field.access[0] for name, field in list(known_fields().items())[::2]}
    kept |= masked_contacts()
    with tenancy.platform_context(), database.transaction() as session:
        roles.create_role(session, name="limited", permissions=permissions, field_permissions=kept)
    return factories.make_user(database, role="limited")


@pytest.mark.parametrize("who", ["operator", "admin", "viewer", "limited"])
def test_every_answer_conforms(
    app: Flask,
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    tenant: Tenant,
    who: str,
) -> None:
    ids = make_one_of_each(client, operator, tenant)
    user = {
        "operator": lambda: factories.make_user(database),
        "admin": lambda: factories.make_user(database, tenant),
        "viewer": lambda: factories.make_user(database, tenant, Role.VIEWER),
        "limited": lambda: _limited(database),
    }[who]()
    document = schemathesis.openapi.from_wsgi("/api/openapi.json", app)
    statuses: collections.Counter[int] = collections.Counter()
    for result in document.get_all_operations():
        # Signed in anew: one of the operations is to sign out.
        headers = factories.sign_in(app, user) | ANY
        statuses += statuses_of(result.ok(), headers, ids)
    assert statuses.total() > 150
    assert statuses[2] > 25
    assert statuses[5] == 0
