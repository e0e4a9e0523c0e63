"""By what the parts of an installation know that another part lives: it says so each second.

Gateway nodes say more: see `control_plane/contract/node_status.py`.
"""

import datetime
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import redis

from control_plane.contract import keys
from control_plane.core import clock

WORKER = "worker"
SHIPPER = "shipper"
EVERY_SECONDS = 1.0
SILENT_SECONDS = 5.0
"""Who has said nothing for longer is not there."""
_FORGOTTEN_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last sign of life of a process; `failing` names what does not work in it."""

    kind: str
    name: str
    at: datetime.datetime
    failing: tuple[str, ...] = ()

    @property
    def silent_seconds(self) -> float:
        """How long ago that is; its clock and ours must agree."""
        return max(0.0, (clock.now() - self.at).total_seconds())

    @property
    def is_alive(self) -> bool:
        """Whether the process is there."""
        return self.silent_seconds <= SILENT_SECONDS


def beat(client: redis.Redis, kind: str, name: str, failing: Collection[str] = ()) -> None:
    """Say that the process lives, and what does not work in it.

    Raises:
        redis.RedisError: Redis is away.
    """
    said = {"at": round(clock.now().timestamp() * 1000), "failing": sorted(failing)}
    client.hset(keys.HEARTBEATS, f"{kind}/{name}", json.dumps(said))


def end(client: redis.Redis, kind: str, name: str) -> None:
    """Say that the process ends as it should.

    Raises:
        redis.RedisError: Redis is away.
    """
    client.hdel(keys.HEARTBEATS, f"{kind}/{name}")


def parse(fields: dict[bytes, bytes]) -> list[Heartbeat]:
    """Return the heartbeats in the hash, by kind and name, without who is silent for an hour."""
    found = [_parse(field, text) for field, text in sorted(fields.items())]
    return [each for each in found if each.silent_seconds < _FORGOTTEN_SECONDS]


def forget(client: redis.Redis) -> None:
    """Take away who has been silent for an hour.

    Raises:
        redis.RedisError: Redis is away.
    """
    fields: Any = client.hgetall(keys.HEARTBEATS)
    kept = {f"{each.kind}/{each.name}".encode() for each in parse(fields)}
    if stale := set(fields) - kept:
        client.hdel(keys.HEARTBEATS, *stale)


def _parse(field: bytes, text: bytes) -> Heartbeat:
    kind, _, name = field.decode().partition("/")
    said = json.loads(text)
    at = datetime.datetime.fromtimestamp(said["at"] / 1000, datetime.UTC)
    return Heartbeat(kind, name, at, tuple(said["failing"]))
