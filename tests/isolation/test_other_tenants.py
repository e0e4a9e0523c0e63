"""No operation shows or changes what is another tenant's; made from the OpenAPI document.

Each operation is tried by the administrator of one tenant with the ids of another one in path,
query and body, and must answer as it does to ids that do not exist.
"""

import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from flask.testing import FlaskClient

from control_plane.app import create_app
from control_plane.core import tenancy
from tests import factories
from tests.isolation.world import PLATFORM_PARAMETERS, World, in_each_place, unknown_ids
from tests.operations import BODIES, good_body

if TYPE_CHECKING:
    from control_plane.core.database import Database

FORBIDDEN, NOT_FOUND = 403, 404
OF_ONESELF = "/api/auth/"
"""Operations below it act on whoever asks, and name nobody, except one's own sign-ins."""


class Operation(NamedTuple):
    """One operation of the OpenAPI document."""

    method: str
    path: str
    in_path: tuple[str, ...]
    in_query: Mapping[str, dict[str, Any]]
    body: str | None
    properties: Mapping[str, dict[str, Any]]
    is_public: bool

    @property
    def names_a_tenants_thing(self) -> bool:
        """Whether its path leads to something that belongs to a tenant, and not to everybody."""
        return bool(set(self.in_path) - PLATFORM_PARAMETERS) and not self.is_public


def operations(client: FlaskClient) -> Iterator[Operation]:
    """Yield all operations of the API."""
    document = client.get("/api/openapi.json").json
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        shared = methods.get("parameters", [])
        for method, operation in methods.items():
            if method == "parameters":
                continue
            parameters = [*shared, *operation.get("parameters", [])]
            content = operation.get("requestBody", {}).get("content", {})
            body = next((each["schema"]["$ref"].split("/")[-1] for each in content.values()), None)
            yield Operation(
                method,
                path,
                tuple(each["name"] for each in parameters if each.get("in") == "path"),
                {p["name"]: p["schema"] for p in parameters if p.get("in") == "query"},
                body,
                schemas[body]["properties"] if body else {},
                operation.get("security") == [],
            )


def request_of(world: World, operation: Operation) -> dict[str, Any]:
    """Return a good body and the query that an operation cannot do without."""
    made: dict[str, Any] = {}
    if operation.body is not None:
        made["json"] = good_body(operation.method, operation.path, world.ids)
    made["query_string"] = {n: v for n, v in world.queries.items() if n in operation.in_query}
    return made


def try_paths(world: World) -> int:
    """Try every operation whose path names a tenant's thing; return how many there were."""
    tried = 0
    for operation in operations(world.client):
        if not operation.names_a_tenants_thing:
            continue
        request = request_of(world, operation)
        theirs = {name: world.ids.get(name, str(uuid.uuid4())) for name in operation.in_path}
        unknown = unknown_ids(theirs)
        pairs = [(theirs, unknown)]
        if "tenant_id" in theirs and len(theirs) > 1:
            mine = {"tenant_id": str(world.mine.id)}
            pairs.append(({**theirs, **mine}, {**unknown, **mine}))
        for ids, none in pairs:
            answer = world.call(operation.method, operation.path, ids, **request)
            expected = world.call(operation.method, operation.path, none, **request)
            # Also to the same path for what is mine, such as a limit that operators made for me.
            forbidden = ids is not theirs or "tenant_id" not in theirs
            refused = answer[0] == NOT_FOUND or (forbidden and answer[0] == FORBIDDEN)
            if answer != expected or not refused:
                pytest.fail(f"{operation.method} {operation.path} with their ids: {answer}")
        tried += 1
    return tried


@in_each_place
def test_their_ids_in_a_path_are_answered_like_unknown_ones(world: World) -> None:
    before = world.snapshot()
    for name in ("Tenant", "User", "APIKey", "Domain", "TenantModelConfig", "CustomRole"):
        assert before[name], name
    assert try_paths(world) >= 40
    assert world.snapshot() == before


@in_each_place
def test_their_ids_in_a_query_are_answered_like_unknown_ones(world: World) -> None:
    tried = set()
    for operation in operations(world.client):
        for name, schema in operation.in_query.items():
            if schema.get("format") != "uuid":
                continue
            assert name == "tenantId", f"{operation.path} filters by {name}: add it to the World"
            answers = [
                world.call(operation.method, operation.path, {}, query_string={name: value})
                for value in (world.ids["tenant_id"], str(uuid.uuid4()))
            ]
            assert answers[0] == answers[1], operation.path
            assert answers[0][0] == NOT_FOUND, operation.path
            tried.add(operation.path)
    assert {"/api/users", "/api/roles"} <= tried


@in_each_place
def test_their_ids_in_a_body_are_answered_like_unknown_ones(world: World) -> None:
    before, tried = world.snapshot(), set()
    for operation in operations(world.client):
        if "tenantId" not in operation.properties:
            continue
        answers = [
            world.call(
                operation.method,
                operation.path,
                {},
                json={**request_of(world, operation)["json"], "tenantId": value},
            )
            for value in (world.ids["tenant_id"], str(uuid.uuid4()))
        ]
        assert answers[0] == answers[1], operation.path
        # Only operators make limits, also of a tenant.
        assert answers[0][0] in {NOT_FOUND, FORBIDDEN}, operation.path
        tried.add(operation.path)
    assert {"/api/users", "/api/roles"} <= tried
    assert world.snapshot() == before


def test_the_world_knows_every_parameter_and_every_body(world: World) -> None:
    for operation in operations(world.client):
        assert set(operation.in_path) - PLATFORM_PARAMETERS <= world.ids.keys(), operation
        if operation.body is not None and not operation.path.startswith(OF_ONESELF):
            assert (operation.method, operation.path) in BODIES, operation


@in_each_place
def test_lists_hold_nothing_of_another_tenant(world: World) -> None:
    seen = 0
    for operation in operations(world.client):
        if operation.method != "get" or set(operation.in_path) - {"tenant_id"}:
            continue
        query = request_of(world, operation)["query_string"]
        url = operation.path.format(tenant_id=world.mine.id)
        answer = world.client.get(url, headers=world.me, query_string=query)
        assert not [each for each in world.ids.values() if each in answer.text], url
        seen += answer.status_code == 200
    assert seen >= 8


def test_a_tenants_user_has_no_right_of_the_platform(client: FlaskClient, world: World) -> None:
    for method, url in (
        ("post", "/api/tenants"),
        ("delete", f"/api/tenants/{world.mine.id}"),
        ("post", f"/api/tenants/{world.mine.id}/activate"),
        ("post", "/api/models"),
        ("get", "/api/gateway/nodes"),
    ):
        answer = getattr(client, method)(url, headers=world.me)
        assert (answer.status_code, answer.json["code"]) == (403, "permission_denied"), url


@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
def test_the_matrix_would_notice_a_missing_filter(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the tenant's filter off, the same matrix must turn red; PostgreSQL has a second wall."""
    monkeypatch.setattr(tenancy, "filter_statement", lambda _state: None)
    app = create_app(settings)
    database: Database = app.extensions["yumen_database"]
    world = World(app, factories.sign_in(app, factories.make_user(database)))
    with pytest.raises(pytest.fail.Exception, match="with their ids"):
        try_paths(world)
    database.close()
