"""By what a service or a part of the installation is healthy, degraded or down."""

import dataclasses
import datetime
from typing import Any

import pytest

from control_plane.core import clock
from control_plane.core.heartbeats import Heartbeat
from control_plane.monitoring import health
from control_plane.monitoring.breaking import BreakerState
from control_plane.monitoring.health import Breaker, Finding
from control_plane.monitoring.nodes import NodeReport, Peer
from control_plane.monitoring.readings import Reading

CALM = Reading(10.0, 0.0, 5.0, 9.0, 9.9, 1, "closed", 20.0, 1)
WELL, ILL = Peer("a:1", True, None), Peer("b:1", False, "status 500")
STATUS = {"refusals": [], "memory_bytes": 1000, "memory_free_bytes": 500}


def of_calls(error_rate: float, rate: float = 10.0) -> Any:
    reading = dataclasses.replace(CALM, error_rate=error_rate, rate=rate)
    return health.verdict(health.of_service(reading, [], []))


def breaker(status: str, *, is_wide: bool = True) -> Breaker:
    return Breaker(BreakerState(status, clock.now(), "4 of 4 calls failed in 30 s"), is_wide)


@pytest.mark.parametrize(
    ("error_rate", "rate", "status"),
    [
        (0.0, 10.0, "healthy"),
        (4.9, 10.0, "healthy"),
        (5.0, 10.0, "degraded"),
        (89.9, 10.0, "degraded"),
        (90.0, 10.0, "down"),
        (100.0, 0.5, "down"),
        (100.0, 0.4, "degraded"),
    ],
)
def test_failing_calls_decide(error_rate: float, rate: float, status: str) -> None:
    found, reason = of_calls(error_rate, rate)
    expected = f"calls fail: {error_rate:.1f} % of {rate:.1f} a second"
    assert (found, reason) == (status, None if status == "healthy" else expected)


def test_without_calls_it_is_healthy() -> None:
    assert health.verdict(health.of_service(None, [], [])) == ("healthy", None)


@pytest.mark.parametrize(
    ("breakers", "status"),
    [
        ([breaker("closed")], "healthy"),
        ([breaker("half-open")], "degraded"),
        ([breaker("open")], "down"),
        ([breaker("open", is_wide=False)], "degraded"),
        ([breaker("closed"), breaker("open", is_wide=False), breaker("open")], "down"),
    ],
)
def test_breakers_decide(breakers: list[Breaker], status: str) -> None:
    assert health.verdict(health.of_service(CALM, breakers, []))[0] == status


@pytest.mark.parametrize(
    ("seen", "status", "counted"),
    [
        ([], "healthy", (0, 0)),
        ([[WELL]], "healthy", (1, 1)),
        ([[WELL, ILL]], "degraded", (2, 1)),
        ([[ILL]], "down", (1, 0)),
        ([[ILL], [Peer("b:1", True, None)]], "degraded", (1, 0)),
    ],
)
def test_targets_decide(seen: list[list[Peer]], status: str, counted: tuple[int, int]) -> None:
    assert health.verdict(health.of_service(CALM, [], seen))[0] == status
    numbers = health.count_peers(seen)
    assert (numbers["targets"], numbers["healthyTargets"]) == counted


def test_the_worst_comes_first_and_details_are_for_the_owner() -> None:
    ill = [Peer(f"10.0.0.{number}:80", False, "no answer") for number in range(1, 6)]
    found = health.of_service(dataclasses.replace(CALM, error_rate=50.0), [breaker("open")], [ill])
    found.append(Finding(None, "no worker sums up what nodes count"))
    status, reason = health.verdict(found)
    assert status == "down"
    assert reason is not None
    assert reason.split("; ") == [
        "a circuit breaker is open: 4 of 4 calls failed in 30 s",
        "targets do not work: 5 of 5, "
        + ", ".join(f"10.0.0.{number}:80 (no answer)" for number in (1, 2, 3))
        + " and 2 more",
        "calls fail: 50.0 % of 10.0 a second",
        "no worker sums up what nodes count",
    ]
    status, reason = health.verdict(found, in_detail=False)
    assert status == "down"
    assert reason is not None
    assert reason.split("; ") == [
        "a circuit breaker is open",
        "targets do not work",
        "calls fail",
        "no worker sums up what nodes count",
    ]
    assert health.verdict(found[-1:])[0] is None, "not healthy, when nobody knows"


@pytest.mark.parametrize(
    ("fields", "silent", "load", "expected"),
    [
        ({}, 4, 20.0, ("healthy", None)),
        ({}, 4, None, ("healthy", None)),
        ({}, 37, 20.0, ("down", "silent for 37 s")),
        ({}, 1, 97.2, ("degraded", "a worker of it is on the CPU 97 % of its time")),
        (
            {"refusals": [{"section": "models", "id": "x"}]},
            1,
            20.0,
            ("degraded", "refuses documents: models/x"),
        ),
        (
            {"memory_free_bytes": 49},
            1,
            20.0,
            ("degraded", "its memory for the configuration is nearly full"),
        ),
    ],
)
def test_what_a_node_tells_decides(
    fields: dict[str, Any], silent: float, load: float | None, expected: tuple[str, str | None]
) -> None:
    report = NodeReport("n", clock.now().timestamp() - silent, {**STATUS, **fields}, {}, {})
    assert health.verdict(health.of_node(report, load)) == expected


def test_a_node_whose_report_cannot_be_read_is_degraded() -> None:
    report = NodeReport("n", clock.now().timestamp(), {}, {}, {})
    assert health.verdict(health.of_node(report, None))[0] == "degraded"


def heartbeat(silent: float, *failing: str) -> Heartbeat:
    at = clock.now() - datetime.timedelta(seconds=silent)
    return Heartbeat("worker", "host-1", at, failing)


def test_one_worker_is_enough() -> None:
    def of(*heard: Heartbeat) -> Any:
        return health.verdict(health.of_worker(heard))

    assert of() == ("down", "no worker is heard")
    assert of(heartbeat(6)) == ("down", "no worker is heard")
    assert of(heartbeat(6, "mail"), heartbeat(1)) == ("healthy", None)
    failing = of(heartbeat(1, "usage", "publisher"))
    assert failing == ("degraded", "does not work now: publisher, usage")


def test_a_shipper_is_there_or_not() -> None:
    assert health.verdict(health.of_shipper(None)) == ("down", "never heard")
    assert health.verdict(health.of_shipper(heartbeat(1))) == ("healthy", None)
    assert health.verdict(health.of_shipper(heartbeat(61))) == ("down", "silent for 61 s")


def test_redis_and_the_database_are_judged_by_how_they_answer() -> None:
    assert health.of_redis({"used_memory": 100, "maxmemory": 0}) == []
    assert health.of_redis({"used_memory": 89, "maxmemory": 100}) == []
    assert health.of_redis({"used_memory": 90, "maxmemory": 100})[0].status == "degraded"
    assert health.of_database(0.9) == []
    assert health.of_database(1.1)[0].status == "degraded"
