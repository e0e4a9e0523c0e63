"""How services do, by what all gateway nodes counted in the last seconds."""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import redis
import structlog

from control_plane.contract import keys
from control_plane.core import clock
from control_plane.monitoring import breaking, counting
from control_plane.monitoring.breaking import BreakerState
from control_plane.monitoring.counting import Counts, Snapshot, Step
from control_plane.monitoring.nodes import FORGOTTEN_SECONDS, SILENT_SECONDS

WINDOW_SECONDS = 10.0
_SHARES = (0.5, 0.95, 0.99)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a service does now, over all nodes that are heard.

    `rate` is calls a second; `error_rate` and `node_load` are percent, the load that of the busiest
    node; `p50`, `p95`, `p99` are milliseconds until the first byte, None without calls;
    `concurrency` is the calls under way; `breaker` is `closed`, `half-open` or `open`, the worst of
    its breakers; `nodes` is how many nodes are heard.
    """

    rate: float
    error_rate: float
    p50: float | None
    p95: float | None
    p99: float | None
    concurrency: int
    breaker: str
    node_load: float
    nodes: int


@dataclass(slots=True)
class _Node:
    """What is known of a node; `heard` is when, by our clock, it last said something new."""

    seen_at: float
    heard: float
    breakers: Mapping[str, BreakerState] = field(default_factory=dict)
    newest: Snapshot | None = None
    steps: deque[Step] = field(default_factory=deque)

    def take(self, snapshot: Snapshot) -> None:
        """Note what the node counted since its last snapshot."""
        before, self.newest = self.newest, snapshot
        if before is None or snapshot.seen_at == before.seen_at:
            return
        step = counting.step(before, snapshot)
        if step is None or step.seconds > WINDOW_SECONDS:
            self.steps.clear()
            return
        self.steps.append(step)
        while self.steps[0].seen_at <= step.seen_at - WINDOW_SECONDS * 1000:
            self.steps.popleft()


class _Breaker(NamedTuple):
    """A breaker of the configuration."""

    id: str
    service: str
    mode: str


class Readings:
    """Reads what the nodes tell in Redis, and remembers it for the last seconds.

    `read` is to be called about once a second. What a node tells the first time is where counting
    begins, so the first reading knows calls under way, loads and breakers, but no rates.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._nodes: dict[str, _Node] = {}
        self._documents: dict[bytes, bytes] = {}
        self._breakers: dict[bytes, list[_Breaker]] = {}
        self._revision: bytes | None = None

    @property
    def loads(self) -> dict[str, float]:
        """How busy each node is whose report was read last and who is heard, in percent."""
        return {
            name: 100 * node.newest.busy
            for name, node in self._nodes.items()
            if node.newest is not None and self._is_heard(node)
        }

    def read(self) -> dict[str, Reading]:
        """Return the reading of each service that a node has counted or a breaker is not closed of.

        What is counted together is called `other`.

        Raises:
            redis.RedisError: Redis is away; what is known is kept.
        """
        self._listen()
        self._look_up_breakers()
        nodes = [node for node in self._nodes.values() if self._is_heard(node)]
        breakers = self._statuses(nodes)
        snapshots = [node.newest for node in nodes if node.newest is not None]
        load = 100 * max((snapshot.busy for snapshot in snapshots), default=0.0)
        names = set(breakers).union(*(snapshot.counts for snapshot in snapshots))
        counts, rates = _sums(nodes)
        found = {}
        for name in names:
            counted = counts.get(name, counting.NOTHING)
            p50, p95, p99 = counting.quantiles(counted, _SHARES)
            found[name] = Reading(
                rate=rates.get(name, 0.0),
                error_rate=counting.error_rate(counted),
                p50=p50,
                p95=p95,
                p99=p99,
                concurrency=sum(snapshot.in_flight.get(name, 0) for snapshot in snapshots),
                breaker=breakers.get(name, breaking.CLOSED),
                node_load=load,
                nodes=len(nodes),
            )
        return found

    def _listen(self) -> None:
        """Take in what the nodes have said since the last time."""
        now, moment = clock.now().timestamp(), clock.monotonic()
        least = (now - FORGOTTEN_SECONDS) * 1000
        found: Any = self._client.zrangebyscore(keys.NODES, least, "+inf", withscores=True)
        seen = {name.decode(): seen_at for name, seen_at in found}
        for name in set(self._nodes) - set(seen):
            del self._nodes[name]
        for name, seen_at in seen.items():
            # Only the first time it goes by the node's own clock, which may be wrong.
            silent = max(0.0, now - seen_at / 1000)
            node = self._nodes.setdefault(name, _Node(seen_at, moment - silent))
            if node.seen_at != seen_at:
                node.seen_at, node.heard = seen_at, moment
        self._hear([name for name in seen if self._is_heard(self._nodes[name])])

    def _is_heard(self, node: _Node) -> bool:
        return clock.monotonic() - node.heard <= SILENT_SECONDS

    def _hear(self, names: list[str]) -> None:
        with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(keys.node(name), "services", "breakers")
            answers: list[list[bytes | None]] = pipe.execute()
        for name, (services, breakers) in zip(names, answers, strict=True):
            node = self._nodes[name]
            try:
                node.breakers = breaking.parse(breakers or b"{}")
                if services:
                    node.take(counting.parse(services))
            except ValueError as error:
                log.warning("node_readings_unsound", node=name, error=str(error))

    def _look_up_breakers(self) -> None:
        """Learn from the configuration whose breakers are whose, when it has changed."""
        revision: Any = self._client.get(keys.CONFIG_REVISION)
        if revision is not None and revision == self._revision:
            return
        documents: Any = self._client.hgetall(keys.config_section("breakers"))
        self._breakers = {
            service: self._breakers[service]
            if self._documents.get(service) == text
            else list(_breakers_of(service.decode(), text))
            for service, text in documents.items()
        }
        self._documents, self._revision = documents, revision

    def _statuses(self, nodes: list[_Node]) -> dict[str, str]:
        """Return the worst status of each service's breakers, of those that are not closed."""
        found: dict[str, list[str | None]] = {}
        for breakers in self._breakers.values():
            for breaker in breakers:
                said = (node.breakers.get(breaker.id, breaking.UNTOUCHED) for node in nodes)
                state = breaking.by_mode(breaker.mode, breaking.merge(said))
                if state.status != breaking.CLOSED:
                    found.setdefault(breaker.service, []).append(state.status)
        return {service: breaking.worst(statuses) for service, statuses in found.items()}


def _breakers_of(service: str, envelope: bytes) -> Iterator[_Breaker]:
    for breaker in json.loads(envelope)["doc"]["breakers"]:
        yield _Breaker(breaker["id"], service, breaker["mode"])


def _sums(nodes: list[_Node]) -> tuple[dict[str, Counts], dict[str, float]]:
    """Return what was counted of each service in the window, and its calls a second."""
    counts: dict[str, Counts] = {}
    rates: dict[str, float] = {}
    for node in nodes:
        seconds = sum(step.seconds for step in node.steps)
        for step in node.steps:
            for name, found in step.counts.items():
                counts[name] = counting.total(counts.get(name, counting.NOTHING), found)
                rates[name] = rates.get(name, 0.0) + counting.calls(found) / seconds
    return counts, rates
