"""Which route a request on a tenant's own paths takes, and which path its service gets."""

import json
import time
from typing import Any

import pytest

from tests.integration.gateway.conftest import HOST, OTHER_HOST, Node
from tests.integration.gateway.routes.conftest import (
    call,
    exchange,
    only,
    recorded,
    route,
    serve,
)
from tests.upstream import respond


def test_request_and_answer_pass(node: Node) -> None:
    serve(node, route())
    node.upstream.reset(
        respond(b"made", "201 Created", "text/x-thing", Set_Cookie="a=b", Location="/things/1")
    )
    answer = call(node, "/things?a=1&b=%20", "PUT", data=b"body", headers={"X-Mine": "yes"})
    assert (answer.status_code, answer.content) == (201, b"made")
    assert answer.headers["Content-Type"] == "text/x-thing"
    assert answer.headers["Set-Cookie"] == "a=b"
    assert answer.headers["Location"] == "/things/1"
    received = only(node)
    assert received.line == "PUT /things?a=1&b=%20 HTTP/1.1"
    assert received.body == b"body"
    assert received.headers["x-mine"] == "yes"
    assert received.headers["host"] == f"127.0.0.1:{node.upstream.port}"


def test_route_is_chosen_in_order(node: Node) -> None:
    serve(
        node,
        route("exact", path={"kind": "exact", "value": "/a/b"}, methods=["GET"]),
        route("numbers", path={"kind": "regex", "value": "/a/[0-9]+"}),
        route("versioned", "/a", headers=[{"name": "x-version", "value": "2"}]),
        route("a", "/a", methods=["GET", "POST"]),
        route("host", "/", domains=["elsewhere.test"]),
    )
    expected = {
        ("GET", "/a/b", "1"): "exact",
        ("POST", "/a/b", "1"): "a",
        ("GET", "/a/17", "1"): "numbers",
        ("GET", "/a/17x", "1"): "a",
        ("GET", "/a/c", "2"): "versioned",
        ("DELETE", "/a/c", "2"): "versioned",
        ("HEAD", "/a", "1"): "a",
    }
    for (method, path, version), name in expected.items():
        answer = call(node, path, method, headers={"X-Version": version})
        assert answer.status_code == 200, (method, path)
        assert recorded(node, answer)[0].endpoint == name
    refused = call(node, "/a/c", "DELETE")
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")
    assert refused.headers["Allow"] == "GET, HEAD, POST"
    for path in ("/ab", "/", "/b"):
        missing = call(node, path)
        assert (missing.status_code, missing.json()["code"]) == (404, "route_not_found")


def test_gateways_own_paths_are_never_a_routes(node: Node) -> None:
    serve(node, route(authentication=[]))
    for path in ("/v1", "/v1/", "/v1/things", "/.yumen/error", "/x/../v1/things", "//v1/things"):
        answer = exchange(
            node.gateway,
            f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode(),
        )
        assert answer.startswith(b"HTTP/1.1 404 "), (path, answer)
    assert call(node, "/.well-known/yumen").json() == {"featureFlags": {}, "uiTheme": {}}
    assert node.upstream.received == []


def test_routes_are_the_tenants_alone(node: Node) -> None:
    serve(node, route())
    assert call(node, host=OTHER_HOST, key=node.other_key).status_code == 404
    assert call(node, key=node.other_key).status_code == 401
    assert node.upstream.received == []


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/api/a%2Fb", "/api/a%2Fb"),
        ("/api/%7Eme", "/api/%7Eme"),
        ("/api/a+b%20c", "/api/a+b%20c"),
        ("/api/%e7%8e%89", "/api/%e7%8e%89"),
        ("/other/../api/x", "/api/x"),
        ("/api//x/./y", "/api/x/y"),
        ("/api/%2e%2e/api/%3f", "/api/%3F"),
        ("/%61pi/x", "/%61pi/x"),
        ("/api/x?q=/../%2e", "/api/x?q=/../%2e"),
    ],
)
def test_path_is_sent_as_written_where_that_is_what_was_matched(
    node: Node, path: str, sent: str
) -> None:
    serve(node, route("api", "/api"))
    head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {node.key}"
    answer = exchange(node.gateway, f"{head}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert only(node).line == f"GET {sent} HTTP/1.1"


@pytest.mark.parametrize(
    ("fields", "path", "sent"),
    [
        ({"stripPrefix": True}, "/api/a%2Fb?q", "/a%2Fb?q"),
        ({"stripPrefix": True}, "/api", "/"),
        ({"stripPrefix": True}, "/%61pi/x%20y", "/x%20y"),
        ({"rewrite": {"path": "/v2", "pattern": None, "replacement": None}}, "/api/x", "/v2/x"),
        ({"rewrite": {"path": "/v2/", "pattern": None, "replacement": None}}, "/api", "/v2"),
        (
            {
                "path": {"kind": "exact", "value": "/api"},
                "rewrite": {"path": "/whole thing", "pattern": None, "replacement": None},
            },
            "/api?q=1",
            "/whole%20thing?q=1",
        ),
        (
            {"rewrite": {"path": None, "pattern": "^/api/([a-z]+)/", "replacement": "/$1-"}},
            "/api/users/7",
            "/users-7",
        ),
        ({"rewrite": {"path": None, "pattern": "^/api", "replacement": ""}}, "/apix", "/x"),
    ],
)
def test_path_is_rewritten(node: Node, fields: dict[str, Any], path: str, sent: str) -> None:
    kind = {"kind": "prefix", "value": "/" if path == "/apix" else "/api"}
    serve(node, route("api", **{"path": kind, **fields}))
    assert call(node, path).status_code == 200
    assert only(node).line == f"GET {sent} HTTP/1.1"


def test_pattern_that_takes_too_long_is_given_up(node: Node) -> None:
    serve(node, route("slow", path={"kind": "regex", "value": "/(a|aa)+b"}))
    started = time.monotonic()
    assert call(node, "/" + "a" * 2000).status_code == 404
    assert time.monotonic() - started < 10, "tried to its end it takes longer than anybody waits"
    assert call(node, "/aab").status_code == 200


def test_ai_calls_are_as_before_beside_routes(node: Node) -> None:
    serve(node, route())
    node.upstream.reset()
    assert node.call().status_code == 200
    assert only(node).line == "POST /v1/chat/completions HTTP/1.1"
    assert json.loads(only(node).body)["model"] == "m"
