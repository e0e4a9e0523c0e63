"""The API's operations as its OpenAPI document lists them, with a good body and ids for each."""

from collections.abc import Iterator, Mapping
from typing import Any

from flask.testing import FlaskClient

from control_plane.tenants import Tenant
from tests import factories

MODEL = {
    "name": "chat",
    "provider": "openai",
    "endpoint": "https://203.0.114.9/v1",
    "costPerCall": "0.01",
}
_ISSUER = {"issuer": "https://203.0.114.9", "audiences": ["ai"]}
_ISSUERS = "/api/tenants/{tenant_id}/issuers"
_ROLE = {"name": "auditor", "permissions": ["usage:read"]}
_ROLES = "/api/roles/{role_id}"
_KEY = "/api/tenants/{tenant_id}/api-keys/{key_id}"
_UPSTREAM = {
    "name": "shop",
    "targets": [{"host": "203.0.114.9", "port": 443}],
    "serverName": "shop.example.com",
}
_BREAKER = {"serviceName": "upstream"}
_BREAKERS = "/api/circuit-breakers/{breaker_id}"
_RULE = {
    "name": "slow",
    "serviceName": "upstream",
    "condition": "errorRate > 50",
    "action": "timeout-increase",
    "parameters": {"factor": 2},
}
_RULES = "/api/degradation-rules/{rule_id}"
_UPSTREAMS = "/api/upstreams/{upstream_id}"
_ROUTE = {"name": "shop", "path": {"kind": "prefix", "value": "/shop"}}
_ROUTES = "/api/tenants/{tenant_id}/routes"
_CLIENT = {"name": "nightly", "role": "viewer"}
_CLIENTS = "/api/service-clients/{client_id}"
_PROVIDER = {
    "name": "Company",
    "issuer": "https://203.0.114.9",
    "clientId": "yumen",
    "isActive": False,  # nobody is called
}
_PROVIDERS = "/api/identity-providers/{provider_id}"
_LIMIT = {"name": "all", "scope": ["tenant"], "limit": 10, "window": "minute"}
_LIMITS = "/api/limits/{limit_id}"
_MAILED = {"token": "x", "newPassword": "another long one"}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/api/auth/login"): {"username": "x", "password": factories.PASSWORD},
    ("post", "/api/auth/refresh-token"): {"refreshToken": "x"},
    ("post", "/api/auth/password"): {"currentPassword": "x", "newPassword": "another long one"},
    ("post", "/api/auth/password-reset"): {"username": "x"},
    ("post", "/api/auth/password-reset/confirm"): _MAILED,
    ("post", "/api/auth/invitation/accept"): _MAILED,
    ("post", "/api/tenants"): {"name": "x"},
    ("put", "/api/tenants/{tenant_id}"): {"name": "x"},
    ("patch", "/api/tenants/{tenant_id}"): {"name": "changed"},
    ("post", "/api/tenants/{tenant_id}/suspend"): {"reason": "because"},
    ("put", "/api/tenants/{tenant_id}/configuration"): {"featureFlags": {"on": True}},
    ("patch", "/api/tenants/{tenant_id}/configuration"): {"featureFlags": {"on": True}},
    ("post", "/api/users"): {"username": "x", "password": factories.PASSWORD, "role": "viewer"},
    ("put", "/api/users/{user_id}"): {"username": "li", "role": "viewer"},
    ("patch", "/api/users/{user_id}"): {"role": "viewer"},
    ("post", "/api/roles"): _ROLE,
    ("put", _ROLES): _ROLE,
    ("patch", _ROLES): {"name": "changed"},
    ("post", "/api/tenants/{tenant_id}/api-keys"): {"name": "x"},
    ("put", _KEY): {"name": "x"},
    ("patch", _KEY): {"name": "changed"},
    ("post", f"{_KEY}/rotate"): {},
    ("post", "/api/auth/providers/exchange"): {"code": "x", "state": "x"},
    ("post", "/api/identity-providers"): _PROVIDER,
    ("put", _PROVIDERS): _PROVIDER,
    ("patch", _PROVIDERS): {"name": "changed"},
    ("post", "/api/service-clients"): _CLIENT,
    ("put", _CLIENTS): _CLIENT,
    ("patch", _CLIENTS): {"name": "changed"},
    ("post", f"{_CLIENTS}/rotate"): {},
    ("post", "/api/oauth/token"): {"grant_type": "client_credentials"},
    ("post", "/api/tenants/{tenant_id}/domains"): {"domainName": "x.example.com"},
    ("post", "/api/tenants/{tenant_id}/domains/{domain_id}/verify"): {"method": "manual"},
    ("post", _ISSUERS): _ISSUER,
    ("put", f"{_ISSUERS}/{{issuer_id}}"): _ISSUER,
    ("patch", f"{_ISSUERS}/{{issuer_id}}"): {"isActive": False},
    ("post", "/api/limits"): _LIMIT,
    ("put", _LIMITS): _LIMIT,
    ("patch", _LIMITS): {"limit": 5},
    ("post", "/api/circuit-breakers"): _BREAKER,
    ("put", _BREAKERS): _BREAKER,
    ("patch", _BREAKERS): {"mode": "disabled"},
    ("post", "/api/degradation-rules"): _RULE,
    ("put", _RULES): _RULE,
    ("patch", _RULES): {"enabled": False},
    ("post", "/api/upstreams"): _UPSTREAM,
    ("put", _UPSTREAMS): _UPSTREAM,
    ("patch", _UPSTREAMS): {"name": "changed"},
    ("post", _ROUTES): _ROUTE,
    ("put", f"{_ROUTES}/{{route_id}}"): _ROUTE,
    ("patch", f"{_ROUTES}/{{route_id}}"): {"isActive": False},
    ("post", "/api/models"): MODEL,
    ("put", "/api/models/{model_id}"): MODEL,
    ("patch", "/api/models/{model_id}"): {"isActive": False},
    ("post", "/api/tenants/{tenant_id}/models"): {},
    ("put", "/api/tenants/{tenant_id}/models/{config_id}"): {"costMultiplier": "2"},
    ("patch", "/api/tenants/{tenant_id}/models/{config_id}"): {"costMultiplier": "2"},
}
"""What each operation with a body accepts; ids of what it refers to must be added."""


def operations(client: FlaskClient) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and description of each operation."""
    for path, methods in client.get("/api/openapi.json").json["paths"].items():
        for method in methods.keys() - {"parameters"}:
            yield method, path, methods[method]


def good_body(method: str, path: str, ids: Mapping[str, str]) -> dict[str, Any]:
    """Return a body that the operation accepts."""
    good = BODIES.get((method, path), {})
    if (method, path) == ("post", "/api/tenants/{tenant_id}/models"):
        return {"modelId": ids["model_id"]}
    if good is _ROUTE:
        return {**_ROUTE, "upstream": ids["upstream_id"]}
    if good in (_BREAKER, _RULE):
        return {**good, "serviceName": f"upstream:{ids['upstream_id']}"}
    return good


def make_one_of_each(
    client: FlaskClient, operator: Mapping[str, str], tenant: Tenant
) -> dict[str, str]:
    """Make what belongs to *tenant*; return an id for each parameter that paths have."""
    url = f"/api/tenants/{tenant.id}"

    def make(path: str, body: dict[str, Any]) -> str:
        answer = client.post(path, json=body, headers=operator)
        assert answer.status_code == 201, answer.text
        return str(answer.json["id"])

    short = tenant.id.hex[-8:]
    user = {"username": f"li-{short}", "password": factories.PASSWORD, "role": "viewer"}
    model_id = make("/api/models", {**MODEL, "name": f"model-{short}"})
    user_id = make("/api/users", {**user, "tenantId": str(tenant.id)})
    login = {"username": user["username"], "password": factories.PASSWORD}
    token = client.post("/api/auth/login", json=login).json["accessToken"]
    signed_in = {"Authorization": f"Bearer {token}"}
    upstream_id = make("/api/upstreams", {**_UPSTREAM, "tenantId": str(tenant.id)})
    return {
        "tenant_id": str(tenant.id),
        "upstream_id": upstream_id,
        "breaker_id": make(
            "/api/circuit-breakers",
            {"serviceName": f"upstream:{upstream_id}", "tenantId": str(tenant.id)},
        ),
        "rule_id": make(
            "/api/degradation-rules",
            {**_RULE, "serviceName": f"upstream:{upstream_id}", "tenantId": str(tenant.id)},
        ),
        "route_id": make(f"{url}/routes", {**_ROUTE, "upstream": upstream_id}),
        "user_id": user_id,
        "role_id": make("/api/roles", {**_ROLE, "tenantId": str(tenant.id)}),
        "sign_in_id": client.get("/api/auth/sign-ins", headers=signed_in).json[0]["id"],
        "client_id": make("/api/service-clients", {**_CLIENT, "tenantId": str(tenant.id)}),
        "limit_id": make("/api/limits", {**_LIMIT, "tenantId": str(tenant.id)}),
        "provider_id": make("/api/identity-providers", {**_PROVIDER, "tenantId": str(tenant.id)}),
        "key_id": make(f"{url}/api-keys", {"name": "key"}),
        "log_id": client.get(f"/api/audit-logs?tenantId={tenant.id}", headers=operator).json[0][
            "id"
        ],
        "domain_id": make(f"{url}/domains", {"domainName": f"{short}.example.com"}),
        "issuer_id": make(f"{url}/issuers", _ISSUER),
        "model_id": model_id,
        "config_id": make(f"{url}/models", {"modelId": model_id}),
    }
