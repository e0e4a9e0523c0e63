"""Writes into Redis what a gateway node tells of itself, for tests of those who read it."""

import json
from typing import Any

import redis

from control_plane.contract import keys
from control_plane.contract.telemetry import COUNTS
from control_plane.core import clock


def counts(**numbers: int) -> list[int]:
    """Return the numbers of a service in the contract's order, such as `ok=3, bucket_1=3`."""
    assert numbers.keys() <= set(COUNTS), numbers
    return [numbers.get(name, 0) for name in COUNTS]


class TellingNode:
    """A node that has counted some calls.

    What it counts is told when `tell` is called; it says that this is *seconds* after the last
    time.
    """

    def __init__(self, client: redis.Redis, name: str = "node-a") -> None:
        self._client = client
        self.name = name
        self.seen_at = round(clock.now().timestamp() * 1000)
        self.boot = self.seen_at * 1000
        self.busy = 0.25
        self.services: dict[str, dict[str, int]] = {}
        self.in_flight: dict[str, int] = {}
        self.breakers: dict[str, dict[str, Any]] = {}
        self.targets: dict[str, dict[str, Any]] = {}

    def count(self, service: str, **numbers: int) -> None:
        """Add to the numbers of a service."""
        held = self.services.setdefault(service, {})
        for name, number in numbers.items():
            held[name] = held.get(name, 0) + number

    def breaker(self, id_: str, status: str, since: int = 0, reason: str = "") -> None:
        """Say that a breaker is in that state, since a Unix millisecond."""
        self.breakers[id_] = {
            "status": status,
            "since": since or self.seen_at,
            "reason": reason,
            "generation": 1,
        }

    def restart(self) -> None:
        """Forget everything, as a node does that was started anew."""
        self.boot += 1
        self.services.clear()
        self.in_flight.clear()

    def tell(self, seconds: float = 1.0) -> None:
        """Write all that into Redis."""
        self.seen_at += round(seconds * 1000)
        services = {
            name: {"counts": counts(**numbers), "inFlight": self.in_flight.get(name, 0)}
            for name, numbers in self.services.items()
        }
        snapshot = {
            "boot": self.boot,
            "seenAt": self.seen_at,
            "busy": self.busy,
            "services": services,
        }
        status = {
            "node": self.name,
            "epoch": 0,
            "revision": 0,
            "refusals": [],
            "workers": [11, 12],
            "seenAt": self.seen_at,
            "contract": 1,
        }
        said = {
            "status": status,
            "services": snapshot,
            "breakers": self.breakers,
            "targets": self.targets,
        }
        with self._client.pipeline() as pipe:
            for name, fact in said.items():
                pipe.hset(keys.node(self.name), name, json.dumps(fact))
            pipe.zadd(keys.NODES, {self.name: self.seen_at})
            pipe.execute()
