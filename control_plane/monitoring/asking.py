"""Asks Redis, in one conversation, for all that nodes, worker and shippers tell."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
import structlog

from control_plane.contract import keys
from control_plane.core import clock, heartbeats
from control_plane.core.heartbeats import Heartbeat
from control_plane.core.redis import connect
from control_plane.core.settings import Settings
from control_plane.monitoring import nodes, summary
from control_plane.monitoring.nodes import NodeReport
from control_plane.monitoring.summary import Summary

_TIMEOUT_SECONDS = 1.0
_DOCUMENTS_AT_ONCE = 1000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """What Redis tells: `breakers` is the configured ones by service key, as gateways have them."""

    nodes: Sequence[NodeReport]
    heartbeats: Sequence[Heartbeat]
    summary: Summary | None
    breakers: Mapping[str, Sequence[Mapping[str, Any]]]
    memory: Mapping[str, int]
    seconds: float
    """How long it took to answer."""

    @property
    def heard(self) -> list[NodeReport]:
        """The nodes that are there."""
        return [node for node in self.nodes if node.is_heard]


def find_nodes(settings: Settings) -> list[NodeReport] | None:
    """Return what the nodes tell that are there, None when Redis is away."""
    try:
        with connect(settings, socket_timeout=_TIMEOUT_SECONDS) as client:
            return [node for node in nodes.reports(client) if node.is_heard]
    except redis.RedisError:
        return None


def find_told(settings: Settings, services: Sequence[str]) -> Told | None:
    """Return what is told, and the breakers of *services*; None when Redis is away."""
    try:
        with connect(settings, socket_timeout=_TIMEOUT_SECONDS) as client:
            return _told(client, services)
    except redis.RedisError:
        return None


def _told(client: redis.Redis, services: Sequence[str]) -> Told:
    started = clock.monotonic()
    memory: Any = client.info("memory")
    seconds = clock.monotonic() - started
    with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.HEARTBEATS)
        pipe.get(keys.READINGS)
        beats, summed_up = pipe.execute()
    return Told(
        nodes=nodes.reports(client),
        heartbeats=heartbeats.parse(beats),
        summary=_summary(summed_up),
        breakers=_breakers(client, services),
        memory={name: memory[name] for name in ("used_memory", "maxmemory")},
        seconds=seconds,
    )


def _summary(text: bytes | None) -> Summary | None:
    """Return the summary, None when there is none that this version understands."""
    try:
        return summary.parse(text) if text else None
    except ValueError as error:
        log.warning("summary_unsound", error=str(error))
        return None


def _breakers(
    client: redis.Redis, services: Sequence[str]
) -> dict[str, Sequence[Mapping[str, Any]]]:
    found = {}
    for start in range(0, len(services), _DOCUMENTS_AT_ONCE):
        some = services[start : start + _DOCUMENTS_AT_ONCE]
        texts: Any = client.hmget(keys.config_section("breakers"), some)
        for service, text in zip(some, texts, strict=True):
            if text:
                found[service] = json.loads(text)["doc"]["breakers"]
    return found
