"""What tests of publishing share: a publisher, and a view of what Redis holds."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from control_plane import tenants
from control_plane.contract import keys
from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.core.redis import connect
from control_plane.core.settings import Settings
from control_plane.publishing import Publisher
from control_plane.tenants import Tenant


class Configuration:
    """The configuration as a gateway finds it in Redis."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis: Any = client

    @property
    def revision(self) -> tuple[int, int]:
        """Epoch and number of the newest revision."""
        return keys.parse_revision(self._redis.get(keys.CONFIG_REVISION).decode())

    def envelopes(self, section: str) -> dict[str, Any]:
        """Return document id to envelope."""
        found = self._redis.hgetall(keys.config_section(section))
        return {key.decode(): json.loads(text) for key, text in found.items()}

    def documents(self, section: str) -> dict[str, Any]:
        """Return document id to document."""
        return {key: envelope["doc"] for key, envelope in self.envelopes(section).items()}

    def log(self) -> list[tuple[str, Any]]:
        """Return the log: revision, and the changes or "reload"."""
        return [
            (name.decode(), json.loads(fields[b"changes"]) if b"changes" in fields else "reload")
            for name, fields in self._redis.xrange(keys.CONFIG_LOG)
        ]

    def dump(self) -> dict[bytes, bytes]:
        """Return every key with its serialised value, to compare or to restore."""
        return {key: self._redis.dump(key) for key in sorted(self._redis.scan_iter("*"))}

    def restore(self, dump: dict[bytes, bytes]) -> None:
        """Put Redis back to what it was, as an older snapshot of it would."""
        self._redis.flushall()
        for key, value in dump.items():
            self._redis.restore(key, 0, value)


@pytest.fixture
def redis_client(settings: Settings) -> Iterator[redis.Redis]:
    client = connect(settings, socket_timeout=5)
    yield client
    client.close()


@pytest.fixture
def configuration(redis_client: redis.Redis) -> Configuration:
    return Configuration(redis_client)


@pytest.fixture
def publisher(database: Database, redis_client: redis.Redis) -> Publisher:
    """A publisher of the real rooms that has published what there was."""
    made = Publisher(database, redis_client)
    made.cycle()
    return made


def suspend(database: Database, tenant: Tenant) -> None:
    """Make one change that is published."""
    with tenancy.platform_context(), database.transaction() as session:
        tenants.suspend_tenant(session, tenant.id, reason=None)


def activate(database: Database, tenant: Tenant) -> None:
    """Make the opposite change."""
    with tenancy.platform_context(), database.transaction() as session:
        tenants.activate_tenant(session, tenant.id)
