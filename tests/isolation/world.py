"""Two tenants, everything the second one owns, and a good body for each operation."""

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import Flask
from sqlalchemy import inspect, select

from control_plane.core import tenancy
from control_plane.core.database import Base, Database
from control_plane.core.tenancy import TenantFiltered
from tests import factories

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

PLATFORM_PARAMETERS = {"model_id"}
"""Path parameters that name what belongs to the platform."""


class World:
    """Mine, in whose name requests are made, and theirs, whose things they must not reach.

    `ids` is the one place that knows an id of theirs for each path parameter, and `BODIES` the one
    that knows a body for each schema: an operation with an unknown one fails the matrix.
    """

    def __init__(self, app: Flask, operator: Mapping[str, str]) -> None:
        self.app = app
        self.client = app.test_client()
        self.database: Database = app.extensions["yumen_database"]
        self.operator = operator
        self.mine, self.theirs = (factories.make_tenant(self.database) for _ in range(2))
        self.me = factories.sign_in(app, factories.make_user(self.database, self.mine))
        their_user = factories.make_user(self.database, self.theirs)
        them = factories.sign_in(app, their_user)
        sign_ins = self.client.get("/api/auth/sign-ins", headers=them).json
        role = {"name": "theirs", "permissions": ["users:read"]}
        model = self._make("/api/models", MODEL, operator)
        path = f"/api/tenants/{self.theirs.id}"
        self.ids: dict[str, str] = {
            "tenant_id": str(self.theirs.id),
            "user_id": str(their_user.id),
            "sign_in_id": sign_ins[0]["id"],
            "role_id": self._make("/api/roles", role, them),
            "key_id": self._make(f"{path}/api-keys", {"name": "theirs"}, operator),
            "domain_id": self._make(
                f"{path}/domains", {"domainName": "theirs.example.com"}, operator
            ),
            "config_id": self._make(f"{path}/models", {"modelId": model}, operator),
        }
        self.bodies: dict[str, dict[str, Any]] = {
            "TenantCreate": {"name": "New"},
            "TenantUpdate": {"name": "Changed"},
            "TenantPatch": {"name": "Changed"},
            "Suspend": {"reason": "because"},
            "ConfigurationUpdate": {"featureFlags": {"on": True}},
            "ConfigurationPatch": {"featureFlags": {"on": True}},
            "UserCreate": {
                "username": "intruder",
                "password": factories.PASSWORD,
                "role": "viewer",
                "tenantId": self.ids["tenant_id"],
            },
            "UserUpdate": {"username": "changed", "role": "viewer"},
            "UserPatch": {"role": "viewer"},
            "RoleCreate": {**role, "tenantId": self.ids["tenant_id"]},
            "RoleUpdate": {"name": "changed", "permissions": []},
            "RolePatch": {"name": "changed"},
            "APIKeyCreate": {"name": "intruder"},
            "APIKeyUpdate": {"name": "changed"},
            "APIKeyPatch": {"name": "changed"},
            "APIKeyRotate": {},
            "DomainCreate": {"domainName": "intruder.example.com"},
            "DomainVerify": {"method": "dns"},
            "ModelCreate": {**MODEL, "name": "intruder"},
            "ModelUpdate": MODEL,
            "ModelPatch": {"isActive": False},
            "TenantModelCreate": {"modelId": model},
            "TenantModelUpdate": {"costMultiplier": "2"},
            "TenantModelPatch": {"costMultiplier": "2"},
        }
        self.queries = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}

    def _make(self, url: str, body: dict[str, Any], headers: Mapping[str, str]) -> str:
        answer = self.client.post(url, json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json["id"])

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


MODEL = {
    "name": "chat",
    "provider": "openai",
    "endpoint": "https://api.example.com/v1",
    "costPerCall": "0.01",
}


def unknown_ids(names: Mapping[str, str]) -> dict[str, str]:
    """Return an id that nothing has for each of *names*."""
    return {name: str(uuid.uuid4()) for name in names}
