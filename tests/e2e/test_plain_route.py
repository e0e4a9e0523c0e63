"""A tenant's own service behind a route, from the API to the database over a whole Yumen."""

from typing import Any

import requests

from tests.stack import Stack, until
from tests.upstream import Upstream, respond


def test_a_plain_call_is_served_and_metered(stack: Stack) -> None:
    demo = stack.ready["demo"]
    tenant = demo["tenantId"]
    with Upstream(respond(b"shoes", kind="text/plain")) as service:
        upstream = stack.api(
            "POST",
            "/api/upstreams",
            json={
                "name": "shop",
                "tenantId": tenant,
                "scheme": "http",
                "targets": [{"host": "127.0.0.1", "port": service.port}],
                "retries": {"attempts": 2, "statuses": "unavailable"},
            },
        )
        stack.api(
            "POST",
            f"/api/tenants/{tenant}/routes",
            json={
                "name": "shop",
                "path": {"kind": "prefix", "value": "/shop"},
                "stripPrefix": True,
                "upstream": upstream["id"],
            },
        )
        key = stack.api(
            "POST",
            f"/api/tenants/{tenant}/api-keys",
            json={"name": "shop only", "endpoints": ["shop"], "methods": ["PUT"]},
        )

        def ask(path: str, method: str = "PUT") -> requests.Response:
            headers = {"Host": demo["domain"], "Authorization": f"Bearer {key['key']}"}
            url = stack.ready["gateway"] + path
            return requests.request(method, url, headers=headers, data=b"12345", timeout=10)

        answer = until(lambda: (got := ask("/shop/x")).status_code == 200 and got, "the route", 10)
        assert answer.text == "shoes"
        assert service.received[-1].line == "PUT /x HTTP/1.1"
        assert ask("/shop/x", "POST").json()["code"] == "key_method_not_allowed"

    def event() -> dict[str, Any] | None:
        wanted = answer.headers["X-Request-Id"]
        return next((e for e in stack.usage_events() if e["requestId"] == wanted), None)

    found = until(event, "the call in the database", 10)
    assert (found["apiEndpoint"], found["apiKeyId"]) == ("shop", key["id"])
    assert (found["statusCode"], found["outcome"]) == (200, "complete")
    assert (found["requestSize"], found["responseSize"]) == (5, 5)
    assert (found["modelId"], float(found["cost"])) == (None, 0)
