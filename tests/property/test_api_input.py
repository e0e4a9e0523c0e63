"""No input makes the API fail: every field of every operation, each with values from a wild list.

What is accepted must be shown again, and compiled for the gateways, without an error.
"""

import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from werkzeug.test import TestResponse

from control_plane.app import create_app
from control_plane.core import plugins, tenancy
from control_plane.core.crypto import ensure_secrets
from control_plane.core.database import Database
from control_plane.core.settings import Settings, load_settings
from control_plane.tenants import Tenant
from tests import factories
from tests.factories import ANY
from tests.operations import BODIES, good_body, make_one_of_each, operations
from tests.servers import PostgresServer, RedisServer

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


REFUSED = {400, 422}
PARTS = 4
"""Into how many tests the operations are dealt, so that more than one process can run them."""


class Installation:
    """One application, and what exists in it for each parameter in a path."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self.database: Database = self.app.extensions["yumen_database"]
        self.client = self.app.test_client()
        # One caller may not send so many requests in a minute; quotas have tests of their own.
        (limiter,) = self.app.extensions["limiter"]
        limiter.enabled = False
        self.sign_in()
        self.ids = make_one_of_each(self.client, self.caller, factories.make_tenant(self.database))
        self.statements: list[str] = []
        event.listen(self.database.engine, "before_cursor_execute", self._note)

    def sign_in(self) -> None:
        """Let a new user send what follows; an access token is good for minutes only."""
        self.caller = factories.sign_in(self.app, factories.make_user(self.database))

    def status_of(self, method: str, path: str, field: str, value: Any, number: int) -> int:
        """Send a good body but for *value* as its *field*; it may not make the operation fail."""
        sent = {**good_body(method, path, self.ids), field: value}
        if "name" in sent and field != "name":
            sent["name"] = f"n{number}"
        answer = self.send(method, path, sent)
        told = f"{method} {path} {field} = {value!r:.100}: {answer.text[:300]}"
        assert answer.status_code < 500, told
        assert answer.is_json, told
        return answer.status_code

    def send(self, method: str, path: str, body: Any) -> TestResponse:
        """Send a request; `statements` are then those that it sent to the database."""
        self.statements.clear()
        path = path.format(**self.ids)
        headers = self.caller | ANY
        return self.client.open(path, method=method.upper(), json=body, headers=headers)

    def check_shown(self) -> None:
        """Everything that is kept can be shown and compiled."""
        url = f"/api/tenants/{self.ids['tenant_id']}"
        lists = ("/api/tenants", "/api/users", "/api/models", f"{url}/api-keys", f"{url}/domains")
        for path in (url, *(f"{each}?pageSize=100" for each in (*lists, f"{url}/models"))):
            assert self.client.get(path, headers=self.caller).json, path
        with tenancy.platform_context(), self.database.session(write=False) as session:
            for section in plugins.config_sections():
                for document in section.compile(session, None).values():
                    assert section.schema().validate(json.loads(json.dumps(document))) == {}

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        self.statements.append(statement)


@pytest.fixture
def on_sqlite(empty_sqlite: Path, redis_server: RedisServer) -> Iterator[Installation]:
    with tempfile.TemporaryDirectory(prefix="ym") as folder:
        shutil.copy(empty_sqlite, Path(folder) / "yumen.db")
        yield from installation(Path(folder), {"YUMEN_REDIS_URL": redis_server.url})


@pytest.fixture
def on_postgresql(
    postgres_server: PostgresServer, empty_postgresql: str, redis_server: RedisServer
) -> Iterator[Installation]:
    name = postgres_server.create(empty_postgresql)
    # What the other installation counts in Redis is not this one's.
    environ = {"YUMEN_REDIS_URL": redis_server.url.replace("db=0", "db=1")}
    with tempfile.TemporaryDirectory(prefix="ym") as folder:
        yield from installation(Path(folder), environ | postgres_server.environ(name))
    postgres_server.drop(name)


def installation(state: Path, environ: dict[str, str]) -> Iterator[Installation]:
    with redis.Redis.from_url(environ["YUMEN_REDIS_URL"]) as client:
        client.flushdb()
    settings = load_settings(state=state, environ=environ)
    ensure_secrets(settings)
    made = Installation(settings)
    yield made
    made.database.close()


def values_of(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each field of an operation's body with each value; one that it does not know once."""
    (content,) = operation["requestBody"]["content"].values()
    name = content["schema"]["$ref"].rpartition("/")[2]
    yield from itertools.product(document["components"]["schemas"][name]["properties"], WILD)
    yield "unknownField", "x"


@pytest.mark.parametrize("part", range(PARTS))
def test_no_body_makes_an_operation_fail(
    on_sqlite: Installation, on_postgresql: Installation, part: int
) -> None:
    """What the schema refuses cannot depend on the database: it is sent on SQLite only.

    That it was the schema is seen by the statements: no other than those of a body that no schema
    takes, which are the ones that ask who the caller is.
    """
    document = on_sqlite.client.get("/api/openapi.json").json
    with_body = [each for each in operations(on_sqlite.client) if "requestBody" in each[2]]
    assert {(method, path) for method, path, _ in with_body} == set(BODIES)
    accepted = compared = 0
    for method, path, operation in with_body[part::PARTS]:
        on_sqlite.sign_in()
        on_postgresql.sign_in()
        assert 400 <= on_sqlite.send(method, path, []).status_code < 500
        of_the_refused = list(on_sqlite.statements)
        for field, value in values_of(document, operation):
            status = on_sqlite.status_of(method, path, field, value, accepted)
            if status not in REFUSED or on_sqlite.statements != of_the_refused:
                also = on_postgresql.status_of(method, path, field, value, accepted)
                # How fast passwords are guessed differs, and with it who has to wait.
                waits = 429 in {also, status}
                assert waits or also == status, (method, path, field, value)
                compared += 1
            accepted += status < 300
    assert accepted > 100
    assert compared > accepted
    on_sqlite.check_shown()
    on_postgresql.check_shown()


@pytest.fixture
def ids(client: FlaskClient, operator: dict[str, str], tenant: Tenant) -> dict[str, str]:
    """Something that exists for each parameter in a path."""
    return make_one_of_each(client, operator, tenant)


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
