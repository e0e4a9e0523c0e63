"""Opens connections to Redis; the only place that does."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from control_plane.core.settings import Settings

_CONNECT_SECONDS = 2.0


def connect(settings: Settings, *, socket_timeout: float | None = None) -> redis.Redis:
    """Return a client for the installation's Redis; it connects when first used.

    A kept connection that was closed is replaced once; a Redis that is away is an error at once:
    whoever waits for it decides how. Responses are bytes. A command that blocks (XREAD BLOCK)
    needs a *socket_timeout* of None or longer than its own.
    """
    return redis.Redis.from_url(
        settings.redis_url,
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=socket_timeout,
        health_check_interval=30,
        retry=Retry(NoBackoff(), 1),
    )
