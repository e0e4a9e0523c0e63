"""What a key is limited to, on real nginx."""

from typing import Any

import pytest

from tests.gateway import new_key
from tests.integration.gateway.conftest import HOST, Node, make_node
from tests.integration.gateway.test_gateway_auth import code_of


def limit(node: Node, **limits: Any) -> str:
    """Publish a new key with *limits*; return its text."""
    key_id, key = new_key()
    document = node.gateway.credential(node.tenant, key, **limits)
    node.gateway.publish({"credentials": {key_id: document}})
    return key


def models(node: Node, key: str, **options: Any) -> Any:
    return node.gateway.call("GET", "/v1/models", HOST, key=key, **options)


def test_key_with_every_list_that_fits_passes(shared_node: Node) -> None:
    key = limit(
        shared_node,
        models=["m", "other"],
        endpoints=["/v1/chat/completions", "/v1/models"],
        methods=["GET", "POST"],
        addresses=["10.0.0.0/8", "127.0.0.1/32"],
    )
    assert shared_node.call(key=key).status_code == 200
    assert [model["id"] for model in models(shared_node, key).json()["data"]] == ["m"]


@pytest.mark.parametrize(
    ("limits", "code", "named"),
    [
        ({"models": ["other"]}, "key_model_not_allowed", "'m'"),
        ({"endpoints": ["/v1/models"]}, "key_endpoint_not_allowed", "/v1/chat/completions"),
        ({"methods": ["GET"]}, "key_method_not_allowed", "POST"),
        ({"addresses": ["10.0.0.0/8", "::1/128"]}, "key_address_not_allowed", "this address"),
        ({"addresses": []}, "key_address_not_allowed", "this address"),
    ],
)
def test_key_that_lacks_something_is_told_what(
    shared_node: Node, limits: dict[str, Any], code: str, named: str
) -> None:
    key = limit(shared_node, **limits)
    shared_node.upstream.reset()
    answer = shared_node.call(key=key)
    assert code_of(answer) == (403, code)
    error = answer.json()["error"]
    assert named in error["message"]
    assert error["type"] == "permission_error"
    assert shared_node.upstream.received == []


def test_list_of_models_holds_what_the_key_may_call(shared_node: Node) -> None:
    key = limit(shared_node, models=["other"])
    assert models(shared_node, key).json()["data"] == []
    answer = shared_node.gateway.call("GET", "/v1/models/m", HOST, key=key)
    assert code_of(answer) == (403, "key_model_not_allowed")


def test_change_of_a_scope_acts_on_the_next_request(node: Node) -> None:
    for limits, status in (({"methods": ["GET"]}, 403), ({"methods": None}, 200)) * 2:
        document = node.gateway.credential(node.tenant, node.key, **limits)
        node.gateway.publish({"credentials": {node.key_id: document}})
        assert {node.call().status_code for _ in range(8)} == {status}


def test_address_of_a_forwarding_header_is_nobodys_word(shared_node: Node) -> None:
    key = limit(shared_node, addresses=["203.0.113.7/32"])
    answer = models(shared_node, key, headers={"X-Forwarded-For": "203.0.113.7"})
    assert code_of(answer) == (403, "key_address_not_allowed")


def test_trusted_proxys_word_counts_and_no_further() -> None:
    trusted = {"YUMEN_GATEWAY_TRUSTED_PROXIES": "127.0.0.0/8,fd00::/8"}
    for node in make_node(environment=trusted):
        key = limit(node, addresses=["203.0.113.7/32", "2001:db8::/32"])
        for said, status in (
            ("203.0.113.7", 200),
            ("203.0.113.8", 403),
            ("2001:db8::5", 200),
            ("::ffff:203.0.113.7", 200),
            ("203.0.113.7, fd00::1", 200),  # came over a second trusted proxy
            ("203.0.113.7, 198.51.100.1", 403),  # the client wrote the first one itself
        ):
            answer = models(node, key, headers={"X-Forwarded-For": said})
            assert answer.status_code == status, said
        assert models(node, key).status_code == 403
