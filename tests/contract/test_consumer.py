"""A real gateway on each case's documents answers its requests as the case says."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.contract import state
from tests.gateway import NginxServer
from tests.servers import RedisServer
from tests.upstream import Upstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def gateway() -> Iterator[NginxServer]:
    with RedisServer() as redis, NginxServer(redis.url, {}, environment=state.SECRETS) as server:
        yield server


@pytest.mark.parametrize("case", state.CASES, ids=lambda case: case.name)
def test_requests_are_answered_as_the_case_says(
    case: Path, gateway: NginxServer, upstream: Upstream
) -> None:
    _serve(gateway, upstream, case)
    for step in yaml.safe_load((case / "requests.yaml").read_text()):
        upstream.reset()
        answer = _send(gateway, step["request"])
        _judge(answer, step["expect"], f"{case.name}: {step['request']}")
        if "upstream" in step["expect"]:
            _judge_upstream(upstream, step["expect"]["upstream"])


def _serve(gateway: NginxServer, upstream: Upstream, case: Path) -> None:
    """Publish the case's documents, and remove those of the case before."""
    documents = json.loads((case / "documents.json").read_text())
    for model in documents.get("models", {}).values():
        assert model["endpoint"]["port"] == state.UPSTREAM_PORT
        model["endpoint"]["port"] = upstream.port
    for document in documents.get("upstreams", {}).values():
        for target in document["targets"]:
            assert target["port"] == state.UPSTREAM_PORT
            target["port"] = upstream.port
    former = gateway.publisher.documents
    changes: dict[str, dict[str, Any]] = {
        section: dict.fromkeys(ids) for section, ids in former.items() if ids
    }
    for section, found in documents.items():
        changes.setdefault(section, {}).update(found)
    gateway.publish(changes)


def _send(gateway: NginxServer, request: Mapping[str, Any]) -> requests.Response:
    path = re.sub(r"\{key:([^}]+)\}", lambda found: state.key_text(found[1]), request["path"])
    headers = {"Content-Type": "application/json", **request.get("headers", {})}
    if "token" in request:
        headers["authorization"] = f"Bearer {state.token_text(request['token'])}"
    if "key" in request:
        text = state.key_text(request["key"])
        if request.get("damage") == "crc":
            text = text[:-1] + ("A" if text[-1] != "A" else "B")
        if request.get("damage") == "secret":
            text = state.key_text(request["key"], secret_of="another")
        bearer = request.get("keyHeader", "authorization") == "authorization"
        headers[request.get("keyHeader", "authorization")] = f"Bearer {text}" if bearer else text
    return gateway.call(
        request["method"],
        path,
        request["host"],
        headers=headers,
        data=request["body"].encode() if "body" in request else None,
    )


def _judge(answer: requests.Response, expect: Mapping[str, Any], what: str) -> None:
    assert answer.status_code == expect["status"], f"{what}: {answer.text}"
    assert answer.headers["X-Request-Id"], what
    if "json" in expect:
        assert answer.json() == expect["json"], what
    if "models" in expect:
        assert sorted(model["id"] for model in answer.json()["data"]) == expect["models"], what
    if "code" in expect:
        dialect = expect.get("dialect", "openai" if "/v1/" in str(answer.url) else "problem")
        assert _code(answer, dialect) == expect["code"], what


def _code(answer: requests.Response, dialect: str) -> Any:
    """Return the error's code, having checked the dialect's form."""
    body = answer.json()
    if dialect == "openai":
        assert answer.headers["Content-Type"] == "application/json"
        assert set(body["error"]) == {"message", "type", "param", "code"}
        return body["error"]["code"]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert body["status"] == answer.status_code
    assert body["requestId"] == answer.headers["X-Request-Id"]
    return body["code"]


def _judge_upstream(upstream: Upstream, expect: Any) -> None:
    if expect == "none":
        assert upstream.received == []
        return
    (received,) = upstream.received
    if "path" in expect:
        assert received.line.split()[1] == expect["path"]
    if "body" in expect:
        assert received.body.decode() == expect["body"]
    if "json" in expect:
        assert json.loads(received.body) == expect["json"]
    for name, value in expect.get("headers", {}).items():
        assert received.headers[name] == value
    for name in expect.get("absent", []):
        assert name not in received.headers
