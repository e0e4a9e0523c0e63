"""Two tenants, and everything that the second one owns."""

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from sqlalchemy import inspect, select

from control_plane.core import tenancy
from control_plane.core.tables import Base
from control_plane.core.tenancy import TenantFiltered
from control_plane.tenants.models import Isolation
from tests import factories
from tests.operations import make_one_of_each

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

    from control_plane.core.database import Database

PLATFORM_PARAMETERS = {"model_id"}
"""Path parameters that name what belongs to the platform."""


_SHARED = (Isolation.ROW, Isolation.ROW)

in_each_place = pytest.mark.parametrize(
    ("database_url", "isolations"),
    [
        ("sqlite", _SHARED),
        ("postgresql", _SHARED),
        ("postgresql", (Isolation.ROW, Isolation.SCHEMA)),
        ("postgresql", (Isolation.SCHEMA, Isolation.SCHEMA)),
    ],
    indirect=["database_url"],
    ids=["sqlite", "row", "row-schema", "schema"],
)
"""Runs a test wherever my business data and theirs can lie."""


class World:
    """Mine, in whose name requests are made, and theirs, whose things they must not reach.

    `ids` holds an id of theirs for each path parameter: an operation with an unknown one fails the
    matrix.
    """

    def __init__(
        self, app: Flask, operator: Mapping[str, str], isolations: Sequence[Isolation] = _SHARED
    ) -> None:
        self.app = app
        self.client = app.test_client()
        self.database: Database = app.extensions["yumen_database"]
        self.operator = operator
        self.mine, self.theirs = (
            factories.make_tenant(self.database, isolation=each) for each in isolations
        )
        self.me = factories.sign_in(app, factories.make_user(self.database, self.mine))
        self.ids = make_one_of_each(self.client, operator, self.theirs)
        self.queries = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}

    def call(
        self, method: str, path: str, ids: Mapping[str, str], **request: Any
    ) -> tuple[int, Any]:
        """Make a request in my name; return status and body, without what tells requests apart."""
        headers = {**self.me, **factories.ANY}
        answer: TestResponse = self.client.open(
            path.format(**ids), method=method.upper(), headers=headers, **request
        )
        body = answer.get_json(silent=True)
        if isinstance(body, dict):
            body = {**body, "requestId": None, "instance": None}
        return answer.status_code, body

    def snapshot(self) -> dict[str, list[Any]]:
        """Return all rows of the other tenant."""
        found: dict[str, list[Any]] = {}
        with tenancy.tenant_context(self.theirs.id), self.database.session(write=False) as session:
            for mapper in Base.registry.mappers:
                if issubclass(mapper.class_, TenantFiltered):
                    columns = inspect(mapper.class_).column_attrs.keys()
                    found[mapper.class_.__name__] = [
                        {name: getattr(row, name) for name in columns}
                        for row in session.scalars(select(mapper.class_))
                    ]
        return found


def unknown_ids(names: Mapping[str, str]) -> dict[str, str]:
    """Return an id that nothing has for each of *names*."""
    return {name: str(uuid.uuid4()) for name in names}
