"""No input makes the API fail: every field of every operation, each with values from a wild list.

What is accepted must be shown again, and compiled for the gateways, without an error.
"""

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from control_plane.core import plugins, tenancy
from control_plane.core.database import Database
from control_plane.tenants import Tenant
from tests import factories
from tests.factories import ANY
from tests.operations import BODIES, good_body, make_one_of_each, operations

WILD = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**30, 1.5, -0.0, 1e308),
    *("", " ", "x", "0", "-1", "1e400", "NaN", "\n", "\x01", "\x7f", "\u202e", "🚀", "é" * 300),
    *(
        "../..",
        "%00",
        "{{7*7}}",
        "' OR 1=1 --",
        "a@b.c",
        "null",
        "http://",
        "xn--",
        ".",
        "x" * 20000,
    ),
    *("9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+14:00", "2026-02-30T00:00:00Z"),
    *("2026-01-01T00:00:00Z", "2026-06-30T23:59:60Z", "8999-12-31T23:59:59.999999Z"),
    *("00000000-0000-0000-0000-000000000000", "https://[::1]/v1", "https://xn--zz/v1"),
    *([], [None], [[]], ["x"] * 500, {}, {"": ""}, {"x": None}, {"x": {"y": [1, "z"]}}),
    *({"stream": True}, {"x" * 300: 1}, {"é": "\x01"}),
]


def fields_of(document: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    (content,) = operation["requestBody"]["content"].values()
    schema = content["schema"]
    name = schema["$ref"].rpartition("/")[2]
    return [*document["components"]["schemas"][name]["properties"], "unknownField"]


@pytest.fixture
def ids(client: FlaskClient, operator: dict[str, str], tenant: Tenant) -> dict[str, str]:
    """Something that exists for each parameter in a path."""
    return make_one_of_each(client, operator, tenant)


def check_shown(client: FlaskClient, database: Database, ids: dict[str, str], me: Any) -> None:
    """Everything that is kept can be shown and compiled."""
    url = f"/api/tenants/{ids['tenant_id']}"
    lists = ("/api/tenants", "/api/users", "/api/models", f"{url}/api-keys", f"{url}/domains")
    for path in (*lists, f"{url}/models", url):
        assert client.get(f"{path}?pageSize=100" if path != url else path, headers=me).json, path
    with tenancy.platform_context(), database.session(write=False) as session:
        for section in plugins.config_sections():
            for document in section.compile(session, None).values():
                assert section.schema().validate(json.loads(json.dumps(document))) == {}


def test_no_body_makes_an_operation_fail(
    app: Flask,
    client: FlaskClient,
    operator: dict[str, str],
    database: Database,
    ids: dict[str, str],
) -> None:
    document = client.get("/api/openapi.json").json
    with_body = [each for each in operations(client) if "requestBody" in each[2]]
    assert {(method, path) for method, path, _ in with_body} == set(BODIES)
    accepted = 0
    for method, path, operation in with_body:
        good = good_body(method, path, ids)
        for field in fields_of(document, operation):
            for number, value in enumerate(WILD):
                sent = {**good, field: value}
                if "name" in good and field != "name":
                    sent["name"] = f"n{accepted}"
                answer = client.open(
                    path.format(**ids), method=method.upper(), json=sent, headers=operator | ANY
                )
                told = f"{method} {path} {field} = WILD[{number}]: {answer.text[:300]}"
                assert answer.status_code < 500, told
                assert answer.is_json, told
                accepted += answer.status_code < 300
    assert accepted > 100
    check_shown(client, database, ids, operator)


def test_no_query_makes_a_list_fail(
    app: Flask, client: FlaskClient, database: Database, ids: dict[str, str]
) -> None:
    tried = 0
    for method, path, operation in operations(client):
        # One caller may not send so many requests in a minute.
        operator = factories.sign_in(app, factories.make_user(database))
        parameters = operation.get("parameters", ())
        names = [each["name"] for each in parameters if each.get("in") == "query"]
        for name in names:
            for value in (each for each in WILD if isinstance(each, str | int | float)):
                query = {name: str(value)[:2000]}
                answer = client.get(path.format(**ids), query_string=query, headers=operator)
                assert answer.status_code in {200, 400, 404, 422}, (
                    f"{method} {path} {query}: {answer.text}"
                )
                tried += 1
    assert tried > 500
