"""The verbs of monitoring: how services and parts do, and what state breakers are in."""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core import clock, heartbeats, plugins, tenancy
from control_plane.core.pagination import Page
from control_plane.core.plugins import Service
from control_plane.core.settings import Settings
from control_plane.monitoring import asking, breaking, health
from control_plane.monitoring.asking import Told
from control_plane.monitoring.breaking import BreakerState
from control_plane.monitoring.health import DOWN, KINDS, PARTS, Breaker, Finding, Health
from control_plane.monitoring.nodes import NodeReport
from control_plane.monitoring.readings import Reading

_NO_REDIS = "Redis, where nodes tell, cannot be reached"
_NO_NODE = "no gateway node is heard"
_NO_SUMMARY = "no worker sums up what nodes count"

Id = TypeVar("Id")


def breaker_states(settings: Settings, modes: Mapping[Id, str]) -> dict[Id, BreakerState]:
    """Return what state breakers are in, by their ids, of which *modes* tells the modes.

    A state that nobody knows says why.
    """
    nodes = asking.find_nodes(settings) if "auto" in modes.values() else None
    unknown = BreakerState(None, None, _sentence(_NO_REDIS if nodes is None else _NO_NODE))
    return {
        id_: breaking.by_mode(mode, _merged(nodes, str(id_)) if nodes else unknown)
        for id_, mode in modes.items()
    }


def list_services(
    session: Session,
    settings: Settings,
    *,
    page: int,
    page_size: int,
    status: str | None,
    kind: str | None,
) -> Page[Health]:
    """Return how the services do that the current scope may call, by kind and name.

    The platform sees the parts of the installation, too, and the numbers of all services; a tenant
    sees those of his own.
    """
    tenant_id = tenancy.current_tenant_id()
    services: list[Service] = []
    if kind not in PARTS:
        answers = plugins.manager().hook.yumen_known_services(session=session, tenant_id=tenant_id)
        services = [service for answer in answers for service in answer]
    told = asking.find_told(settings, [service.key for service in services])
    found = [_health_of(service, told, tenant_id) for service in services]
    if tenant_id is None:
        found += _parts(session, told)
    wanted = [each for each in found if status in (None, each.status) and kind in (None, each.kind)]
    wanted.sort(key=lambda each: (KINDS.index(each.kind), each.service_name, each.id))
    start = (page - 1) * page_size
    return Page(wanted[start : start + page_size], len(wanted))


def _health_of(service: Service, told: Told | None, tenant_id: uuid.UUID | None) -> Health:
    kind, _, id_ = service.key.partition(":")
    in_detail = tenant_id is None or service.owner == tenant_id
    now = clock.now()
    if told is None or not told.heard:
        unknown = Finding(None, _NO_REDIS if told is None else _NO_NODE)
        status, reason = health.verdict([unknown])
        return Health(service.key, service.name, kind, status, _sentence(reason), now, {})
    summary = told.summary
    reading = summary.readings.get(service.key) if summary else None
    peers = [node.peers[id_] for node in told.heard if id_ in node.peers]
    findings = health.of_service(reading, _breakers(service, told, tenant_id), peers)
    if summary is None:
        findings.append(Finding(None, _NO_SUMMARY))
    status, reason = health.verdict(findings, in_detail)
    metrics: dict[str, float] = {}
    if in_detail and summary:
        metrics |= _numbers(reading)
    if in_detail and peers:
        metrics |= health.count_peers(peers)
    at = summary.at if summary else now
    return Health(service.key, service.name, kind, status, _sentence(reason), at, metrics)


def _breakers(service: Service, told: Told, tenant_id: uuid.UUID | None) -> Iterator[Breaker]:
    """Yield the breakers of a service that are about calls which the scope sees."""
    for breaker in told.breakers.get(service.key, ()):
        if tenant_id is not None and breaker["tenant"] not in (None, str(tenant_id)):
            continue
        is_wide = breaker["endpoint"] is None and (
            breaker["tenant"] is None or breaker["tenant"] in (str(tenant_id), str(service.owner))
        )
        state = breaking.by_mode(breaker["mode"], _merged(told.heard, breaker["id"]))
        yield Breaker(state, is_wide)


def _merged(nodes: Iterable[NodeReport], id_: str) -> BreakerState:
    return breaking.merge(node.breakers[id_] for node in nodes if id_ in node.breakers)


def _numbers(reading: Reading | None) -> dict[str, float]:
    if reading is None:
        return {"rate": 0, "errorRate": 0, "concurrency": 0}
    numbers = {
        "rate": reading.rate,
        "errorRate": reading.error_rate,
        "p50": reading.p50,
        "p95": reading.p95,
        "p99": reading.p99,
        "concurrency": reading.concurrency,
    }
    return {name: value for name, value in numbers.items() if value is not None}


def _parts(session: Session, told: Told | None) -> Iterator[Health]:
    """Yield how the parts of the installation do."""
    started = clock.monotonic()
    session.execute(select(1))
    seconds = clock.monotonic() - started
    yield _part("database", "", health.of_database(seconds), {"seconds": seconds})
    if told is None:
        yield _part("redis", "", [Finding(DOWN, "cannot be reached")], {})
        yield _part("worker", "", [Finding(None, _NO_REDIS)], {})
        return
    numbers = {"seconds": told.seconds, "usedMemoryBytes": told.memory["used_memory"]}
    yield _part("redis", "", health.of_redis(told.memory), numbers)
    workers = [each for each in told.heartbeats if each.kind == heartbeats.WORKER]
    alive = sum(each.is_alive for each in workers)
    yield _part("worker", "", health.of_worker(workers), {"processes": alive})
    shippers: dict[str, heartbeats.Heartbeat | None] = {
        each.name: each for each in told.heartbeats if each.kind == heartbeats.SHIPPER
    }
    for node in told.nodes:
        load = told.summary.loads.get(node.name) if told.summary else None
        yield _part("gatewayNode", node.name, health.of_node(node, load), _node(node, load))
        shippers.setdefault(node.name, None)
    for name, heard in shippers.items():
        silent = {} if heard is None else {"silentSeconds": heard.silent_seconds}
        yield _part("shipper", name, health.of_shipper(heard), silent)


def _node(node: NodeReport, load: float | None) -> dict[str, float]:
    numbers = {
        "silentSeconds": node.silent_seconds,
        "load": load,
        "workers": len(node.status["workers"]) if node.status else None,
        "revision": node.status.get("revision"),
        "memoryBytes": node.status.get("memory_bytes"),
        "memoryFreeBytes": node.status.get("memory_free_bytes"),
    }
    return {name: value for name, value in numbers.items() if value is not None}


def _part(kind: str, name: str, findings: list[Finding], metrics: dict[str, float]) -> Health:
    status, reason = health.verdict(findings)
    id_ = f"{kind}:{name}" if name else kind
    return Health(id_, name or kind, kind, status, _sentence(reason), clock.now(), metrics)


def _sentence(text: str | None) -> str | None:
    return text[0].upper() + text[1:] + "." if text else None
