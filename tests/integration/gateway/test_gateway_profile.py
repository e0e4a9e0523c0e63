"""What a tenant's own front end is told on its domain, without a key."""

from typing import Any

import pytest

from tests.integration.gateway.conftest import HOST, OTHER_HOST, Node

PATH = "/.well-known/yumen"
PROFILE = {
    "featureFlags": {"newChat": True, "beta": False},
    "uiTheme": {"primaryColor": "#0a0", "logo": "https://acme.test/l.svg", "标题": '"A"'},
}


def profile(node: Node, method: str = "GET", host: str = HOST, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return node.gateway.call(method, PATH, host, headers=named)


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def test_profile_is_served_without_a_key(node: Node) -> None:
    assert profile(node).json() == {"featureFlags": {}, "uiTheme": {}}
    node.gateway.publish({"profiles": {node.tenant: PROFILE}})
    answer = profile(node)
    assert answer.json() == PROFILE
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Request-Id"]
    assert profile(node, host=OTHER_HOST).json() == {"featureFlags": {}, "uiTheme": {}}


def test_front_end_that_knows_it_is_told_nothing_new(node: Node) -> None:
    node.gateway.publish({"profiles": {node.tenant: PROFILE}})
    tags = {profile(node).headers["ETag"] for _ in range(8)}  # of both workers
    assert len(tags) == 1
    tag = tags.pop()
    for known in (tag, f'"x", W/{tag}', "*"):
        answer = profile(node, If_None_Match=known)
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
    node.gateway.publish({"profiles": {node.tenant: {**PROFILE, "featureFlags": {}}}})
    answer = profile(node, If_None_Match=tag)
    assert (answer.status_code, answer.json()["featureFlags"]) == (200, {})


def test_head_is_get_without_the_body(node: Node) -> None:
    whole, head = profile(node), profile(node, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("ETag", "Content-Length", "Content-Type"):
        assert head.headers[name] == whole.headers[name]


def test_other_methods_are_refused(node: Node) -> None:
    answer = profile(node, "POST")
    assert problem(answer) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"


def test_unknown_host_is_a_problem(node: Node) -> None:
    assert problem(profile(node, host="nobody.test")) == (404, "host_not_found")


@pytest.mark.parametrize("status", ["suspended", "inactive"])
def test_tenant_that_is_not_active_is_a_problem(node: Node, status: str) -> None:
    node.gateway.publish({"tenants": {node.tenant: node.tenant_document(status)}})
    assert problem(profile(node)) == (403, f"tenant_{status}")
