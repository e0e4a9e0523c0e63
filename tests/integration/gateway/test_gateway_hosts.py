"""Whose request it is: by the exact name, else by the wildcard above it."""

from collections.abc import Iterator

import pytest

from tests.integration.gateway.conftest import HOST, OTHER_HOST, Node, make_node
from tests.integration.gateway.routes.conftest import UPSTREAM, route
from tests.route_documents import upstream_document
from tests.upstream import respond


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    for node in make_node(workers=1):
        node.upstream.reset(respond(b"hello", kind="text/plain"))
        node.gateway.publish(
            {"hosts": {"*.wild.test": {"tenant": node.tenant}, "own.wild.test": None}}
        )
        yield node


def status(node: Node, host: str, path: str = "/.well-known/yumen") -> int:
    return node.gateway.call("GET", path, host, key=node.key).status_code


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.wild.test", 200),
        ("A.WILD.test", 200),
        ("a.wild.test:80", 200),
        ("wild.test", 404),
        ("a.b.wild.test", 404),
        (".wild.test", 404),
        ("awild.test", 404),
        ("*", 404),
        ("localhost", 404),
    ],
)
def test_wildcard_is_all_names_of_one_more_label(node: Node, host: str, expected: int) -> None:
    assert status(node, host) == expected


def test_exact_name_wins_over_the_wildcard(node: Node) -> None:
    def statuses() -> list[int]:
        keys = (node.key, node.other_key)
        return [
            node.gateway.call("GET", "/v1/models", "own.wild.test", key=key).status_code
            for key in keys
        ]

    assert statuses() == [200, 401]
    theirs = node.gateway.documents["hosts"][OTHER_HOST]
    node.gateway.publish({"hosts": {"own.wild.test": theirs}})
    assert statuses() == [401, 200]
    node.gateway.publish({"hosts": {"own.wild.test": None}})
    assert statuses() == [200, 401]


def test_route_of_a_wildcard_is_served_at_all_its_names(node: Node) -> None:
    routes = [route(domains=["*.wild.test"])]
    node.gateway.publish(
        {
            "upstreams": {UPSTREAM: upstream_document(node.upstream.port)},
            "routes": {node.tenant: {"routes": routes}},
        }
    )
    assert [status(node, host, "/x") for host in ("a.wild.test", HOST)] == [200, 404]
