"""Documents of the sections `routes` and `upstreams`, as the control plane publishes them."""

import uuid
from collections.abc import Mapping
from typing import Any


def route_document(
    name: str, upstream: str, path: str | Mapping[str, str] = "/", **fields: Any
) -> dict[str, Any]:
    """Return a route of all requests whose path begins with *path*, changed by *fields*."""
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        "name": name,
        "priority": 0,
        "domains": [],
        "path": {"kind": "prefix", "value": path} if isinstance(path, str) else path,
        "methods": None,
        "headers": [],
        "upstream": upstream,
        "stripPrefix": False,
        "rewrite": None,
        "requestHeaders": {"set": {}, "remove": []},
        "responseHeaders": {"set": {}, "remove": []},
        "maxRequestBytes": None,
        "maxResponseBytes": None,
        "timeouts": {
            "connect": 5.0,
            "send": 10.0,
            "firstByte": 10.0,
            "betweenBytes": 10.0,
            "total": None,
        },
        "webSocket": {"enabled": False, "maxAge": None},
        "cors": None,
        "allowAddresses": [],
        "denyAddresses": [],
        "authentication": ["key", "jwt"],
        **fields,
    }


def upstream_document(port: int, **fields: Any) -> dict[str, Any]:
    """Return an upstream with one target, on a loopback port."""
    return {
        "name": "service",
        "tenant": None,
        "scheme": "http",
        "passHost": "target",
        "host": None,
        "serverName": None,
        "balancing": "roundRobin",
        "hashOn": None,
        "targets": [{"host": "127.0.0.1", "port": port, "weight": 1}],
        "service": None,
        "healthCheck": None,
        "passive": None,
        "retries": {"attempts": 0, "statuses": "none"},
        **fields,
    }
