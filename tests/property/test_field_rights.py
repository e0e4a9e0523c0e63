"""What a role keeps of a field is kept in every answer and every request: made from the schemas."""

import dataclasses
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from marshmallow import Schema, fields

from control_plane.core import plugins, schemas, tenancy
from control_plane.core.auth import Access
from control_plane.core.known_fields import known_fields
from control_plane.core.schemas import QuerySchema, SortField
from control_plane.identity.models import CustomRole
from control_plane.identity.service import roles
from control_plane.tenants import Tenant
from tests import factories
from tests.factories import ANY
from tests.operations import good_body, make_one_of_each
from tests.operations import operations as documented

if TYPE_CHECKING:
    from control_plane.core.database import Database

CONTACT = {
    "contactPerson": "张三",
    "contactEmail": "zhang@example.com",
    "contactPhone": "13800131234",
}
SET_BEFORE: dict[str, dict[str, Any]] = {
    "/api/tenants/{tenant_id}": {
        **CONTACT,
        "expiryDate": "2100-01-01T00:00:00+00:00",
        "timeZone": "Europe/Paris",
        "maxUsers": 77,
        "maxStorage": 88,
    },
    "/api/tenants/{tenant_id}/configuration": {
        "aiModelAccess": [],
        "featureFlags": {"beta": True},
        "uiTheme": {"colour": "jade"},
        "apiCallLimits": {"concurrent": 3},
    },
    "/api/users/{user_id}": {"email": "li@example.com", "role": "auditor"},
    "/api/roles/{role_id}": {"description": "Looks."},
    "/api/tenants/{tenant_id}/api-keys/{key_id}": {
        "models": ["chat"],
        "methods": ["GET"],
        "addresses": ["203.0.113.0/24"],
        "expiresAt": "2100-01-01T00:00:00+00:00",
    },
    "/api/models/{model_id}": {
        "parameters": {"temperature": 1},
        "enforcedParameters": ["temperature"],
        "isActive": False,
    },
    "/api/tenants/{tenant_id}/models/{config_id}": {
        "maxCallsPerDay": 5,
        "customParameters": {"top_p": 1},
        "costMultiplier": "3",
    },
    "/api/service-clients/{client_id}": {
        "role": "auditor",
        "isActive": False,
        "expiresAt": "2100-01-01T00:00:00+00:00",
    },
}
"""What is not there by default, so that a PUT that loses it is noticed."""


FOR_ADMINISTRATORS = {"/api/identity-providers", "/api/identity-providers/{provider_id}"}
"""What only those change from whom no field is kept."""


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation of the API with the schemas of what it takes and answers."""

    method: str
    path: str
    body: Schema | None
    query: Schema | None
    answer: Schema | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class World:
    """One of each thing, and somebody who may do everything, but for what his role keeps."""

    def __init__(self, app: Flask, operator: Mapping[str, str], tenant: Tenant) -> None:
        self.client = app.test_client()
        self.operator = operator
        self.database: Database = app.extensions["yumen_database"]
        self.ids = make_one_of_each(self.client, operator, tenant)
        with tenancy.platform_context(), self.database.transaction() as session:
            names = [each.name for each in plugins.permissions()]
            self.role_id = roles.create_role(session, name="limited", permissions=names).id
        user = factories.make_user(self.database, role="limited")
        self.limited = factories.sign_in(app, user)
        own = self.client.get("/api/auth/sign-ins", headers=self.limited).json
        self.ids["sign_in_id"] = own[0]["id"]
        self.operations = list(_operations(app))
        for path, values in SET_BEFORE.items():
            headers = {**operator, **ANY}
            made = self.client.patch(path.format(**self.ids), json=values, headers=headers)
            assert made.status_code == 200, made.text

    def limit(self, **kept: Access) -> None:
        """Keep from the limited one what is told, and nothing else; dots are `__`."""
        names = {name.replace("__", "."): access for name, access in kept.items()}
        with tenancy.platform_context(), self.database.transaction() as session:
            # Nobody changes a role that gives more of a field than his own.
            for role_id in (self.role_id, uuid.UUID(self.ids["role_id"])):
                session.get_one(CustomRole, role_id).field_permissions = names
        self.kept = names

    def call(self, method: str, path: str, *, who: Mapping[str, str] | None = None, **more: Any):
        """Make a request, by default in the name of the limited one."""
        headers = {**(self.limited if who is None else who), **ANY}
        url = path.format(**self.ids)
        return self.client.open(url, method=method.upper(), headers=headers, **more)


def _operations(app: Flask) -> Iterator[Operation]:
    views = {}
    for rule in app.url_map.iter_rules():
        view_class = getattr(app.view_functions[rule.endpoint], "view_class", None)
        path = rule.rule.replace("<uuid:", "{").replace("<", "{").replace(">", "}")
        for method in rule.methods or ():
            views[method.lower(), path] = getattr(view_class, method.lower(), None)
    for method, path, _ in documented(app.test_client()):
        told = views[method, path]._apidoc
        taken = told.get("arguments", {}).get("parameters", [])
        taken = [*taken, told.get("pagination", {}).get("parameters", {})]
        given = told.get("response", {}).get("responses", {})
        answers = [each.get("schema") for status in given if status < 300 for each in given[status]]
        yield Operation(
            method,
            path,
            body=_schema(each["schema"] for each in taken if each.get("in") == "json"),
            query=_schema(each["schema"] for each in taken if each.get("in") == "query"),
            answer=_schema(answers),
        )


def _schema(found: Any) -> Schema | None:
    for each in found:
        schema = each() if isinstance(each, type) else each
        if isinstance(schema, Schema):
            return schema
    return None


def _named(schema: Schema | None) -> list[str]:
    """Return the names of a schema's own fields, as roles have them."""
    resource = getattr(schema, "resource", None)
    if schema is None or resource is None:
        return []
    names = (f"{resource}.{field.data_key}" for field in schema.fields.values())
    return [name for name in names if name in known_fields()]


def _objects(answer: Any) -> list[dict[str, Any]]:
    return answer if isinstance(answer, list) else [answer]


def _as_keyword(name: str) -> str:
    return name.replace(".", "__")


@pytest.fixture
def world(app: Flask, operator: dict[str, str], tenant: Tenant) -> World:
    return World(app, operator, tenant)


def test_a_hidden_field_is_in_no_answer(world: World) -> None:
    hidden = 0
    for operation in world.operations:
        if operation.method != "get" or operation.answer is None:
            continue
        world.limit()
        whole = world.call("get", operation.path)
        assert whole.status_code in {200, 503}, operation
        for name in _named(operation.answer):
            field = name.partition(".")[2]
            shown = [each for each in _objects(whole.json) if field in each]
            if not shown:
                continue
            world.limit(**{_as_keyword(name): Access.NONE})
            answer = world.call("get", operation.path)
            assert answer.status_code == 200
            for each in _objects(answer.json):
                assert field not in each, f"{operation} shows {name}"
                assert set(each) >= set(shown[0]) - {field}, operation
            hidden += 1
    assert hidden > 120


def test_what_may_not_be_written_is_refused_by_name(world: World) -> None:
    refused = 0
    for operation in world.operations:
        for name in _named(operation.body):
            field = name.partition(".")[2]
            for access in known_fields()[name].access[:-1]:
                world.limit(**{_as_keyword(name): access})
                body = {**good_body(operation.method, operation.path, world.ids), field: None}
                answer = world.call(operation.method, operation.path, json=body)
                assert answer.status_code == 422, f"{operation} takes {name}"
                assert answer.json["code"] == "field_not_permitted"
                assert [each["pointer"] for each in answer.json["errors"]] == [f"#/{field}"]
                refused += 1
    assert refused > 100


def test_a_put_leaves_what_it_may_not_write(world: World) -> None:
    kept = 0
    for operation in world.operations:
        if operation.method != "put" or operation.path in FOR_ADMINISTRATORS:
            continue
        good = {**good_body("put", operation.path, world.ids), **SET_BEFORE.get(operation.path, {})}
        for name in _named(operation.body):
            field = name.partition(".")[2]
            world.limit(**{_as_keyword(name): Access.NONE})
            before = world.call("get", operation.path, who=world.operator).json
            good |= {"fieldPermissions": world.kept} if "role." in name else {}
            body = {name: value for name, value in good.items() if name != field}
            answer = world.call("put", operation.path, json=body)
            assert answer.status_code == 200, (operation, name, answer.text)
            assert field not in answer.json, operation
            after = world.call("get", operation.path, who=world.operator).json
            assert after.get(field) == before.get(field), f"{operation} loses {name}"
            patched = world.call("patch", operation.path, json={})
            assert (patched.status_code, field in patched.json) == (200, False), patched.text
            after = world.call("get", operation.path, who=world.operator).json
            assert after.get(field) == before.get(field), f"patch of {operation.path}: {name}"
            kept += 1
    assert kept > 35


def test_what_was_made_shows_nothing_hidden(world: World) -> None:
    made = 0
    for operation in world.operations:
        taken = set(_named(operation.body))
        hidden = [name for name in _named(operation.answer) if name not in taken]
        if operation.method != "post" or not hidden or not taken:
            continue
        if operation.path in FOR_ADMINISTRATORS:
            continue
        world.limit(**{_as_keyword(name): Access.NONE for name in hidden})
        body = dict(good_body("post", operation.path, world.ids))
        # Nobody gives a role with more than his own.
        body |= {"role": "limited"} if "role" in body else {}
        body |= {"fieldPermissions": world.kept} if "permissions" in body else {}
        answer = world.call("post", operation.path, json=body)
        # One of each is there already: what can be only once says so.
        assert answer.status_code in {201, 409}, (operation, answer.text)
        names = {name.partition(".")[2] for name in hidden}
        assert answer.status_code == 409 or not names & set(answer.json), operation
        made += answer.status_code == 201
    assert made >= 5


def _asks_by_field(world: World) -> Iterator[tuple[Operation, str, str, str]]:
    """Yield operation, field that roles can name, and the parameter and value that ask by it."""
    for operation in world.operations:
        if not isinstance(operation.query, QuerySchema):
            continue
        listed = getattr(operation.answer, "resource", None)
        for parameter in operation.query.fields.values():
            name = str(parameter.data_key)
            if isinstance(parameter, SortField):
                for each in parameter._attributes:
                    yield operation, f"{listed}.{each}", name, f"-{each}"
            yield operation, f"{listed}.{name}", name, "x"


def test_nothing_is_found_or_sorted_by_what_is_hidden(world: World) -> None:
    tried = 0
    for operation, field, parameter, value in _asks_by_field(world):
        if field not in known_fields():
            continue
        for access in known_fields()[field].access:
            if access.shows:
                continue
            world.limit(**{_as_keyword(field): access})
            query = {parameter: value}
            answer = world.call(operation.method, operation.path, query_string=query)
            assert answer.status_code == 422, (operation, field)
            assert answer.json["code"] == "field_not_permitted"
            assert answer.json["errors"][0]["pointer"] == f"?{parameter}"
            tried += 1
    assert tried > 25


def test_every_schema_that_is_served_says_whose_fields_it_has(world: World) -> None:
    """A schema of another kind would show and take everything; those of OAuth 2.0 stand apart."""
    foreign = {"/api/oauth/token"}
    for operation in world.operations:
        for schema in (operation.body, operation.answer):
            assert (
                schema is None
                or operation.path in foreign
                or operation.method == "patch"
                or isinstance(schema, schemas.Schema)
            ), operation
        for field in () if operation.body is None else operation.body.fields.values():
            inner = getattr(field, "schema", None) if isinstance(field, fields.Nested) else None
            resource = getattr(inner, "resource", None)
            # A PUT keeps the fields of its own resource only.
            assert operation.method != "put" or resource in {None, operation.body.resource}


@pytest.mark.parametrize("access", [Access.NONE, Access.MASKED])
def test_contact_data_is_nowhere_in_a_tenants_export(world: World, access: Access) -> None:
    path = "/api/tenants/{tenant_id}/export"
    values = [*CONTACT.values(), "li@example.com"]
    world.limit()
    assert all(value in world.call("get", path).text for value in values)
    contacts = [name for name, field in known_fields().items() if field.contact]
    world.limit(**{_as_keyword(name): access for name in contacts})
    text = world.call("get", path).text
    assert '"kind": "end"' in text
    assert not [value for value in values if value in text]
    assert ("138****1234" in text) == (access is Access.MASKED)
