"""How many requests a minute the control plane takes from one caller, and from one tenant's all.

Counted in Redis over all processes; while Redis is away, each process counts for itself.
"""

from typing import TYPE_CHECKING, cast

import flask
import redis
from flask_limiter import Limiter

from control_plane.core import auth
from control_plane.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMEOUT_SECONDS = 1.0
_EXTENSION = "yumen_quotas"


def configure(app: flask.Flask, settings: Settings) -> None:
    """Set the quotas of *app* up."""
    pool = redis.ConnectionPool.from_url(
        settings.redis_url,
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
    )
    limiter = Limiter(
        _caller,
        app=app,
        storage_uri="redis://",
        storage_options=cast("dict[str, str | int]", {"connection_pool": pool}),
        key_prefix="yumen:v1:quota",
        headers_enabled=True,
        in_memory_fallback_enabled=True,
    )
    admin = settings.admin
    of_caller = limiter.shared_limit(
        f"{admin.caller_requests_per_minute} per minute",
        scope="caller",
        error_message="You sent more requests in this minute than one caller may.",
    )
    of_tenant = limiter.shared_limit(
        f"{admin.tenant_requests_per_minute} per minute",
        scope="tenant",
        key_func=lambda: str(auth.current_actor().tenant_id),
        exempt_when=_is_of_no_tenant,
        error_message="This tenant's users sent more requests in this minute than they may.",
    )
    app.extensions[_EXTENSION] = of_tenant(of_caller(_nothing_more))


def count_request() -> None:
    """Count the present request.

    Raises:
        RateLimitExceeded: it is one too many; answered as 429 with `Retry-After`.
    """
    cast("Callable[[], None]", flask.current_app.extensions[_EXTENSION])()


def _nothing_more() -> None:
    """Do what is left to do for a request that is within its quotas."""


def _caller() -> str:
    """Return who is counted: the user who signed in, else the address."""
    actor = auth.find_actor()
    return f"address:{flask.request.remote_addr}" if actor is None else f"user:{actor.user_id}"


def _is_of_no_tenant() -> bool:
    actor = auth.find_actor()
    return actor is None or actor.tenant_id is None
