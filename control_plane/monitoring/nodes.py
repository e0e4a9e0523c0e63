"""What the gateway nodes tell of themselves in Redis, at one moment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
import structlog

from control_plane.contract import NodeStatusSchema, keys
from control_plane.core import clock
from control_plane.monitoring import breaking
from control_plane.monitoring.breaking import BreakerState

SILENT_SECONDS = 5.0
"""A node that has said nothing for longer is gone."""
FORGOTTEN_SECONDS = 3600.0
"""A node that has said nothing for longer is not spoken of any more."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Peer:
    """An address of an upstream as a node sees it; `reason` is what is wrong with it."""

    address: str
    healthy: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node tells: its `status` by the contract, breakers by id, peers by upstream's id."""

    name: str
    seen_at: float
    """Unix seconds, by the node's clock."""
    status: Mapping[str, Any]
    breakers: Mapping[str, BreakerState]
    peers: Mapping[str, list[Peer]]

    @property
    def silent_seconds(self) -> float:
        """How long it has said nothing; its clock and ours must agree."""
        return max(0.0, clock.now().timestamp() - self.seen_at)

    @property
    def is_heard(self) -> bool:
        """Whether the node is there."""
        return self.silent_seconds <= SILENT_SECONDS


def reports(client: redis.Redis) -> list[NodeReport]:
    """Return what each node tells that was heard within the hour, by name.

    Raises:
        redis.RedisError: Redis is away.
    """
    least = (clock.now().timestamp() - FORGOTTEN_SECONDS) * 1000
    seen: Any = client.zrangebyscore(keys.NODES, least, "+inf", withscores=True)
    with client.pipeline(transaction=False) as pipe:
        for name, _ in seen:
            pipe.hmget(keys.node(name.decode()), "status", "breakers", "targets")
        answers: list[list[bytes | None]] = pipe.execute()
    found = [
        _report(name.decode(), milliseconds / 1000, *said)
        for (name, milliseconds), said in zip(seen, answers, strict=True)
    ]
    return sorted(found, key=lambda report: report.name)


def _report(
    name: str, seen_at: float, status: bytes | None, breakers: bytes | None, peers: bytes | None
) -> NodeReport:
    try:
        return NodeReport(
            name,
            seen_at,
            NodeStatusSchema().load(json.loads(status or b"{}")),
            breaking.parse(breakers or b"{}"),
            _peers(peers or b"{}"),
        )
    except ValueError as error:  # marshmallow's is one, too
        log.warning("node_report_unsound", node=name, error=str(error))
        return NodeReport(name, seen_at, {}, {}, {})


def _peers(text: bytes) -> dict[str, list[Peer]]:
    try:
        return {
            upstream: [
                Peer(address, said["healthy"], said.get("reason"))
                for address, said in peers.items()
            ]
            for upstream, peers in json.loads(text).items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not the targets of a node: {error!r}") from error
