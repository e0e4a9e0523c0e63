"""A node whose tenant has routes of its own."""

import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from control_plane.contract.journal import HEADER_BYTES, Record, read_frames, read_record
from tests.gateway import NginxServer
from tests.integration.gateway.conftest import HOST, Node, make_node
from tests.route_documents import route_document, upstream_document
from tests.stack import until
from tests.upstream import Received, respond

UPSTREAM = str(uuid.uuid4())
NO_ID = uuid.UUID(int=0)


@pytest.fixture(scope="module")
def module_node() -> Iterator[Node]:
    yield from make_node(workers=1, environment={"YUMEN_GATEWAY_BODY_LIMIT_MB": "1"})


@pytest.fixture
def node(module_node: Node) -> Node:
    """A node without routes, its upstream ready."""
    module_node.upstream.reset(respond(b"hello", kind="text/plain"))
    return module_node


def serve(node: Node, *routes: dict[str, Any], **upstream: Any) -> None:
    """Give the tenant these routes, and their upstream these fields."""
    document = upstream_document(node.upstream.port, **upstream)
    node.gateway.publish(
        {"upstreams": {UPSTREAM: document}, "routes": {node.tenant: {"routes": list(routes)}}}
    )


def route(name: str = "service", path: str | dict[str, str] = "/", **fields: Any) -> dict[str, Any]:
    return route_document(name, UPSTREAM, path, **fields)


def call(node: Node, path: str = "/x", method: str = "GET", **options: Any) -> requests.Response:
    options.setdefault("key", node.key)
    return node.gateway.call(method, path, options.pop("host", HOST), **options)


def only(node: Node) -> Received:
    """Return the one request that the upstream got."""
    (received,) = node.upstream.received
    return received


def exchange(gateway: NginxServer, data: bytes) -> bytes:
    """Send raw bytes; return all that comes until the gateway hangs up."""
    with socket.create_connection(("127.0.0.1", gateway.settings.gateway.port), 10) as client:
        client.sendall(data)
        answer = b""
        while more := client.recv(65536):
            answer += more
        return answer


def recorded(node: Node, answer: requests.Response | str) -> list[Record]:
    """Wait for the records of a call; return them."""
    wanted = answer if isinstance(answer, str) else answer.headers["X-Request-Id"]

    def find() -> list[Record]:
        files = (node.gateway.prefix / "journal").glob("*/*.seg")
        records = [
            read_record(payload)
            for file in files
            for _, payload in read_frames(file.read_bytes(), HEADER_BYTES)
        ]
        return [record for record in records if record.request_id == wanted]

    found: list[Record] = until(find, "the call is recorded", 10)
    return found
