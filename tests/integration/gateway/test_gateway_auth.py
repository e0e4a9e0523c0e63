"""Who may pass: host, tenant's status, key."""

import uuid
from typing import Any

import pytest

from control_plane.core.clock import now
from tests.gateway import check_of, new_key
from tests.integration.gateway.conftest import HOST, OTHER_HOST, Node
from tests.stack import until


def code_of(answer: Any) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["X-Request-Id"]
    return answer.status_code, error["code"]


def test_good_key_passes_in_either_header(shared_node: Node) -> None:
    assert shared_node.call().status_code == 200
    assert shared_node.call(key="", headers={"x-api-key": shared_node.key}).status_code == 401
    answer = shared_node.gateway.call(
        "GET", "/v1/models", HOST, headers={"x-api-key": shared_node.key}
    )
    assert [model["id"] for model in answer.json()["data"]] == ["m"]


@pytest.mark.parametrize("host", ["ACME.test", "acme.test.", "acme.test:8080"])
def test_host_is_found_however_it_is_written(shared_node: Node, host: str) -> None:
    assert shared_node.call(host=host).status_code == 200


def test_every_key_that_does_not_fit_is_the_same_401(shared_node: Node) -> None:
    key_id, unknown = new_key()
    start = shared_node.key[:-7] + ("a" if shared_node.key[-7] != "a" else "b")
    wrong_secret = start + check_of(start)
    bad_check = shared_node.key[:-1] + ("a" if shared_node.key[-1] != "a" else "b")
    bodies = set()
    for key in (unknown, wrong_secret, bad_check, "x", "sk-1", shared_node.other_key, key_id):
        answer = shared_node.call(key=key)
        assert code_of(answer) == (401, "invalid_api_key"), key
        bodies.add(answer.text)
    assert len(bodies) == 1


def test_no_key_is_401_with_a_hint(shared_node: Node) -> None:
    answer = shared_node.gateway.call("GET", "/v1/models", HOST)
    assert code_of(answer) == (401, "missing_api_key")
    basic = {"Authorization": "Basic eDp5"}
    answer = shared_node.gateway.call("GET", "/v1/models", HOST, headers=basic)
    assert answer.status_code == 401


def test_other_tenants_key_is_good_on_its_own_host_only(shared_node: Node) -> None:
    assert shared_node.call(host=OTHER_HOST, key=shared_node.other_key).status_code == 200
    assert code_of(shared_node.call(key=shared_node.other_key)) == (401, "invalid_api_key")
    assert code_of(shared_node.call(host=OTHER_HOST)) == (401, "invalid_api_key")


def test_unknown_host_is_404(shared_node: Node) -> None:
    assert code_of(shared_node.call(host="nobody.test")) == (404, "host_not_found")


def test_remembered_key_dies_with_its_credential(node: Node) -> None:
    for _ in range(8):  # so that both workers know it by heart
        assert node.call().status_code == 200
    node.gateway.publish({"credentials": {node.key_id: None}})
    for _ in range(8):
        assert code_of(node.call()) == (401, "invalid_api_key")


def test_remembered_key_dies_when_its_digest_changes(node: Node) -> None:
    for _ in range(8):
        assert node.call().status_code == 200
    other = node.gateway.credential(node.tenant, new_key()[1])
    node.gateway.publish({"credentials": {node.key_id: other}})
    for _ in range(8):
        assert code_of(node.call()) == (401, "invalid_api_key")


def test_remembered_key_dies_when_it_expires(node: Node) -> None:
    expires = int(now().timestamp()) + 2
    document = node.gateway.credential(node.tenant, node.key, expiresAt=expires)
    node.gateway.publish({"credentials": {node.key_id: document}})
    assert node.call().status_code == 200
    until(lambda: node.call().status_code == 401, "the key has expired", 10)
    assert now().timestamp() >= expires


@pytest.mark.parametrize("status", ["suspended", "inactive"])
def test_tenant_that_is_not_active_is_403(node: Node, status: str) -> None:
    node.gateway.publish({"tenants": {node.tenant: node.tenant_document(status)}})
    assert code_of(node.call()) == (403, f"tenant_{status}")
    node.gateway.publish({"tenants": {node.tenant: node.tenant_document()}})
    assert node.call().status_code == 200


def test_host_whose_tenant_is_gone_is_404(node: Node) -> None:
    node.gateway.publish({"hosts": {HOST: {"tenant": str(uuid.uuid4())}}})
    assert code_of(node.call()) == (404, "host_not_found")
