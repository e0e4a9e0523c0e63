"""The demo's tenant, made through the administration API like any other."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import requests

from control_plane.demo.record import DemoRecord

TENANT: Final = "Demo"
DOMAIN: Final = "demo.localhost"
MODEL: Final = "demo-chat"
_TIMEOUT_SECONDS: Final = 30


class DemoError(Exception):
    """The administration API refused a step; the message says which and why."""


class SignInError(Exception):
    """The administration API does not take the password."""


class AdminClient:
    """The administration API as seen by one signed-in operator."""

    def __init__(self, admin_url: str, username: str, password: str) -> None:
        self._base = f"{admin_url}/api"
        self._http = requests.Session()
        self._http.trust_env = False  # a proxy of the environment is not between us and loopback
        answer = self._http.post(
            f"{self._base}/auth/login",
            json={"username": username, "password": password},
            timeout=_TIMEOUT_SECONDS,
        )
        if answer.status_code != 200:
            raise SignInError(answer.text)
        self._http.headers["Authorization"] = f"Bearer {answer.json()['accessToken']}"

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the JSON that the API answers with."""
        answer = self._send(method, path, json=body)
        return answer.json() if answer.content else None

    def ensure(self, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
        """Return the listed object that agrees with the body in one field, or make it."""
        for item in self._list(path):
            if item[key] == body[key]:
                return item
        made: dict[str, Any] = self.call("POST", path, body)
        return made

    def _list(self, path: str) -> Iterator[dict[str, Any]]:
        page, pages = 1, 1
        while page <= pages:
            answer = self._send("GET", path, params={"page": page, "pageSize": 100})
            yield from answer.json()
            pages = json.loads(answer.headers["X-Pagination"])["totalPages"]
            page += 1

    def _send(self, method: str, path: str, **what: Any) -> requests.Response:
        # The demo's own things are made again whatever somebody made of them.
        any_version = {"If-Match": "*"} if method == "PUT" else {}
        answer = self._http.request(
            method, self._base + path, headers=any_version, timeout=_TIMEOUT_SECONDS, **what
        )
        if answer.status_code >= 400:
            raise DemoError(f"The demo could not {method} {path}: {answer.text}")
        return answer


@dataclass(frozen=True)
class Upstream:
    """What answers the demo model."""

    endpoint: str
    key: str | None = field(default=None, repr=False)
    model: str | None = None  # the name it knows the model by; None: ours


def make_demo(client: AdminClient, record: DemoRecord, upstream: Upstream) -> None:
    """Make what is missing of the demo: tenant, domain, key and model. The record is filled in.

    The tenant has no limits. The model follows the upstream, which may have moved.
    """
    tenant = client.ensure("/tenants", {"name": TENANT}, "name")
    tenant_path = f"/tenants/{tenant['id']}"
    domain_body = {"domainName": DOMAIN, "isPrimary": True}
    domain = client.ensure(f"{tenant_path}/domains", domain_body, "domainName")
    if not domain["isVerified"]:
        client.call("POST", f"{tenant_path}/domains/{domain['id']}/verify", {"method": "manual"})
    model = _make_model(client, upstream)
    client.ensure(f"{tenant_path}/models", {"modelId": model["id"]}, "modelId")
    if record.api_key is None or record.tenant_id != tenant["id"]:
        made = client.call("POST", f"{tenant_path}/api-keys", {"name": "demo"})
        record.api_key = made["key"]
    record.tenant_id, record.domain, record.model = tenant["id"], DOMAIN, MODEL


def _make_model(client: AdminClient, upstream: Upstream) -> dict[str, Any]:
    body = {
        "name": MODEL,
        "provider": "openai",
        "endpoint": upstream.endpoint,
        "apiKey": upstream.key,
        "parameters": {"model": upstream.model} if upstream.model else {},
        "costPerCall": "0.01",
        "isActive": True,
    }
    model = client.ensure("/models", body, "name")
    same = all(model[name] == body[name] for name in ("endpoint", "parameters"))
    if not same or upstream.key or model["hasApiKey"]:
        # A key is never shown, so whether it is still this one cannot be seen.
        client.call("PUT", f"/models/{model['id']}", body)
    return model
