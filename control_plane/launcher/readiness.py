"""Whether an installation is ready: both planes answer, and the node holds the configuration."""

import json
from collections.abc import Iterator
from typing import Final

import redis
import requests

from control_plane.contract import keys
from control_plane.core.database import Database
from control_plane.core.outbox import pending
from control_plane.core.redis import connect
from control_plane.core.settings import Settings

# Listening on every address includes this machine's own.
_EVERYWHERE: Final = ("0.0.0.0", "::", "localhost")  # noqa: S104 - compared, not listened on


def gateway_url(settings: Settings) -> str:
    """Return the gateway's address on this machine."""
    return _url(settings.gateway.host, settings.gateway.port)


def admin_url(settings: Settings) -> str:
    """Return the control plane's address on this machine."""
    return _url(settings.admin.host, settings.admin.port)


def _url(host: str, port: int) -> str:
    here = "127.0.0.1" if host in _EVERYWHERE else host
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"


def unready(settings: Settings) -> Iterator[str]:
    """Yield what is not ready yet."""
    if not _answers(f"{admin_url(settings)}/readyz"):
        yield "control plane"
    if not _answers(f"{gateway_url(settings)}/readyz"):
        yield "gateway"
    if not acknowledged(settings):
        yield "configuration"


def acknowledged(settings: Settings) -> bool:
    """Tell whether every worker of this node holds the newest configuration."""
    try:
        with connect(settings, socket_timeout=2) as client:
            newest = client.get(keys.CONFIG_REVISION)
            status = client.hget(keys.node(settings.node), "status")
    except redis.RedisError:
        return False
    if not isinstance(newest, bytes) or not isinstance(status, bytes):
        return False
    node = json.loads(status)
    return (node["epoch"], node["revision"]) >= keys.parse_revision(newest.decode("ascii"))


def _answers(url: str) -> bool:
    with requests.Session() as http:
        http.trust_env = False  # a proxy of the environment is not between us and loopback
        try:
            return http.get(url, timeout=2).status_code == 200
        except requests.RequestException:
            return False


def unpublished(settings: Settings) -> Iterator[str]:
    """Yield what of the committed changes does not yet serve requests."""
    database = Database(settings)
    try:
        with database.session(write=False) as session:
            if pending(session, limit=1):
                yield "publishing"
    finally:
        database.engine.dispose()
    if not acknowledged(settings):
        yield "configuration"
