"""Which headers reach the service behind a route, and which come back."""

from typing import Any

import pytest

from tests.integration.gateway.conftest import HOST, Node
from tests.integration.gateway.routes.conftest import (
    call,
    exchange,
    only,
    route,
    serve,
)
from tests.upstream import respond


def test_no_credential_of_ours_reaches_the_service(node: Node) -> None:
    serve(node, route())
    assert call(node).status_code == 200
    assert call(node, key=None, headers={"x-api-key": node.key}).status_code == 200
    assert call(node, headers={"x-api-key": node.key}).status_code == 200
    for received in node.upstream.received:
        assert "authorization" not in received.headers
        assert "x-api-key" not in received.headers


def test_headers_beside_the_credential_are_the_services(node: Node) -> None:
    serve(node, route())
    own = {"x-api-key": node.key, "Cookie": "c=1"}
    assert call(node, key=None, headers=own).status_code == 200
    assert call(node, headers={"x-api-key": "theirs"}).status_code == 200
    first, second = node.upstream.received
    assert first.headers["cookie"] == "c=1"
    assert second.headers["x-api-key"] == "theirs"


def test_what_the_client_says_of_its_way_is_not_believed(node: Node) -> None:
    serve(node, route())
    claims = {
        "X-Forwarded-For": "9.9.9.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "bank.test",
        "X-Forwarded-Prefix": "/p",
        "X-Real-IP": "9.9.9.9",
        "Forwarded": "for=9.9.9.9",
        "X-Request-Id": "from-the-client",
    }
    assert call(node, headers=claims).status_code == 200
    headers = only(node).headers
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-host"] == HOST
    assert headers["x-request-id"] == "from-the-client"
    assert not {"forwarded", "x-forwarded-prefix"} & headers.keys()


def test_headers_of_the_connection_end_at_the_gateway(node: Node) -> None:
    serve(node, route())
    lines = [
        "GET /x HTTP/1.1",
        f"Host: {HOST}",
        f"Authorization: Bearer {node.key}",
        "Connection: close, X-Hop, X-Forwarded-For",
        "X-Hop: 1",
        "X-Stays: 1",
        "TE: trailers",
        "Keep-Alive: timeout=5",
        "Proxy-Authorization: Basic eA==",
        "Upgrade: h2c",
    ]
    answer = exchange(node.gateway, "\r\n".join([*lines, "", ""]).encode())
    assert answer.startswith(b"HTTP/1.1 200 ")
    headers = only(node).headers
    assert headers["x-stays"] == "1"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    hops = {"x-hop", "te", "keep-alive", "proxy-authorization", "upgrade", "connection"}
    assert not hops & headers.keys()


def test_headers_are_changed(node: Node) -> None:
    changes = {
        "requestHeaders": {
            "set": {"X-Added": "1", "Authorization": "Basic eA=="},
            "remove": ["X-Gone"],
        },
        "responseHeaders": {"set": {"X-Frame-Options": "DENY"}, "remove": ["X-Inner"]},
    }
    serve(node, route(**changes))
    node.upstream.reset(respond(X_Inner="secret", X_Frame_Options="ALLOW"))
    answer = call(node, headers={"X-Gone": "1", "X-Added": "0"})
    headers = only(node).headers
    assert (headers["x-added"], headers["authorization"]) == ("1", "Basic eA==")
    assert "x-gone" not in headers
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "X-Inner" not in answer.headers


def test_what_only_the_gateway_says_is_not_taken_from_the_service(node: Node) -> None:
    serve(node, route())
    node.upstream.reset(respond(X_Request_Id="theirs", X_Yumen_Degraded="theirs"))
    answer = call(node)
    assert answer.headers["X-Request-Id"] != "theirs"
    assert "X-Yumen-Degraded" not in answer.headers


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({"passHost": "client"}, HOST),
        ({"passHost": "fixed", "host": "inner.test"}, "inner.test"),
    ],
)
def test_host_for_the_service(node: Node, fields: dict[str, Any], host: str) -> None:
    serve(node, route(), **fields)
    assert call(node).status_code == 200
    assert only(node).headers["host"] == host
