"""Who may call a route: by key, token, address, or as a page of some origin."""

import pytest

from tests.integration.gateway.conftest import Node
from tests.integration.gateway.routes.conftest import (
    NO_ID,
    call,
    only,
    recorded,
    route,
    serve,
)
from tests.upstream import respond


def test_route_without_authentication(node: Node) -> None:
    serve(node, route(authentication=[]))
    answer = call(node, key=None)
    assert answer.status_code == 200
    assert recorded(node, answer)[0].key == NO_ID
    own = call(node, key=None, headers={"Authorization": "Bearer theirs", "X-Api-Key": "theirs"})
    assert own.status_code == 200
    assert node.upstream.received[1].headers["authorization"] == "Bearer theirs"
    assert node.upstream.received[1].headers["x-api-key"] == "theirs"
    assert call(node).status_code == 200
    assert "authorization" not in node.upstream.received[2].headers


def test_route_of_tokens_takes_no_key(node: Node) -> None:
    serve(
        node,
        route("tokens", "/t", authentication=["jwt"]),
        route("keys", "/k", authentication=["key"]),
    )
    for answer in (call(node, "/t"), call(node, "/t", key=None)):
        assert (answer.status_code, answer.json()["code"]) == (401, "token_required")
    assert call(node, "/k").status_code == 200
    missing = call(node, "/k", key=None)
    assert (missing.status_code, missing.json()["code"]) == (401, "missing_api_key")


@pytest.mark.parametrize(
    ("allowed", "denied", "status"),
    [
        (["127.0.0.0/8"], [], 200),
        (["10.0.0.0/8"], [], 403),
        ([], ["127.0.0.1/32"], 403),
        (["127.0.0.0/8"], ["127.0.0.1/32"], 403),
        ([], ["10.0.0.0/8"], 200),
    ],
)
def test_addresses(node: Node, allowed: list[str], denied: list[str], status: int) -> None:
    serve(node, route(allowAddresses=allowed, denyAddresses=denied))
    answer = call(node)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "address_not_allowed"
        assert call(node, key=None).status_code == 403


CORS = {
    "allowOrigins": ["https://app.test"],
    "allowMethods": [],
    "allowHeaders": ["Authorization", "Content-Type"],
    "exposeHeaders": ["X-Total"],
    "allowCredentials": True,
    "maxAge": 600,
}
PREFLIGHT = {"Origin": "https://app.test", "Access-Control-Request-Method": "POST"}


def test_preflight_needs_no_key(node: Node) -> None:
    serve(
        node,
        route(cors=CORS, methods=["POST"], headers=[{"name": "x-version", "value": None}]),
    )
    answer = call(node, method="OPTIONS", key=None, headers=PREFLIGHT)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.test"
    assert answer.headers["Access-Control-Allow-Methods"] == "POST"
    assert answer.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Access-Control-Max-Age"] == "600"
    assert answer.headers["Vary"] == "Origin"
    assert node.upstream.received == []
    stranger = call(
        node, method="OPTIONS", key=None, headers={**PREFLIGHT, "Origin": "https://x.test"}
    )
    assert (stranger.status_code, stranger.json()["code"]) == (403, "origin_not_allowed")
    assert "Access-Control-Allow-Origin" not in stranger.headers
    other = {**PREFLIGHT, "Access-Control-Request-Method": "DELETE"}
    assert call(node, method="OPTIONS", key=None, headers=other).status_code == 405


def test_answers_tell_pages_of_the_origin_alone(node: Node) -> None:
    serve(node, route(cors=CORS))
    node.upstream.reset(respond(Access_Control_Allow_Origin="*", Vary="Accept"))
    mine = call(node, headers={"Origin": "https://app.test"})
    assert mine.headers["Access-Control-Allow-Origin"] == "https://app.test"
    assert mine.headers["Access-Control-Expose-Headers"] == "X-Total"
    assert mine.headers["Vary"] == "Accept, Origin"
    refused = call(node, key=None, headers={"Origin": "https://app.test"})
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://app.test"
    for headers in ({"Origin": "https://x.test"}, {}):
        answer = call(node, headers=headers)
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_every_origin(node: Node) -> None:
    cors = {**CORS, "allowOrigins": ["*"], "allowHeaders": ["*"], "allowCredentials": False}
    serve(node, route(cors=cors))
    asked = {**PREFLIGHT, "Access-Control-Request-Headers": "x-a, x-b"}
    answer = call(node, method="OPTIONS", key=None, headers=asked)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Headers"] == "x-a, x-b"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_options_without_cors_are_the_services(node: Node) -> None:
    serve(node, route())
    assert call(node, method="OPTIONS", headers=PREFLIGHT).status_code == 200
    assert only(node).line.startswith("OPTIONS ")


def test_suspended_tenant_is_refused_on_every_route(node: Node) -> None:
    serve(node, route("keys", "/k"), route("open", "/o", authentication=[]))
    node.gateway.publish({"tenants": {node.tenant: node.tenant_document("suspended")}})
    try:
        for path in ("/k", "/o"):
            answer = call(node, path)
            assert (answer.status_code, answer.json()["code"]) == (403, "tenant_suspended")
    finally:
        node.gateway.publish({"tenants": {node.tenant: node.tenant_document()}})
