"""Processes die by kill -9 under load; every call is metered exactly once or reported an orphan.

Sets of request ids are matched between client, upstream and database: equal counts prove nothing.
The controls show that the test can fail: with a broken consumer it must find the damage.
"""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.faults.load import finish_load, start_load
from tests.stack import Stack, children, until

RATE = 500
REDELIVERY_SECONDS = 8
"""What a dead consumer held comes again after 5 s, and so does what was sent for nothing."""
MUTANTS = Path(__file__).parent / "mutants"


@dataclass
class Verdict:
    """What client, upstream and database know, and what does not fit together."""

    sent: set[str]
    answered: set[str]
    served: set[str]
    events: list[dict[str, str]]
    kills: list[str] = field(default_factory=list)

    @property
    def outcomes(self) -> dict[str, str]:
        return {event["requestId"]: event["outcome"] for event in self.events}

    def damage(self) -> dict[str, list[str]]:
        """Return kind of damage to the request ids that show it; empty when all is well."""
        outcomes = self.outcomes
        count = Counter(event["requestId"] for event in self.events)
        found = {
            "answered but not metered as complete": [
                request for request in self.answered if outcomes.get(request) != "complete"
            ],
            "metered more than once": [request for request, times in count.items() if times > 1],
            "served by the upstream but neither metered nor reported": self.served - set(outcomes),
            "metered but never sent": set(outcomes) - self.sent,
        }
        return {kind: sorted(requests)[:20] for kind, requests in found.items() if requests}

    def summary(self) -> str:
        by_outcome = Counter(self.outcomes.values())
        return (
            f"kills: {', '.join(self.kills)}\n"
            f"sent {len(self.sent)}, answered {len(self.answered)}, "
            f"served by the upstream {len(self.served)}, metered {dict(by_outcome)}"
        )


def kill(stack: Stack, role: str) -> None:
    """kill -9 the leader of *role*, or one nginx worker, and wait until it was replaced."""
    stack.reload()
    if role == "nginxWorker":
        os.kill(children(stack.ready["pids"]["nginx"])[0], signal.SIGKILL)
        return
    pid = stack.ready["pids"][role]
    os.kill(pid, signal.SIGKILL)

    def replaced() -> bool:
        stack.reload()
        return bool(stack.ready["pids"][role] not in (None, pid))

    until(replaced, f"{role} to be restarted", 15)


def chaos(stack: Stack, seconds: float, roles: list[str], patience: float = 45) -> Verdict:
    """Load *stack* for *seconds* while the leaders of *roles* die one after the other."""
    load = start_load(stack, RATE, seconds, "chaos")
    start = time.monotonic()
    for number, role in enumerate(roles, start=1):
        until(lambda n=number: time.monotonic() - start > n * seconds / (len(roles) + 2), role, 60)
        kill(stack, role)
    seen = finish_load(load, seconds)
    verdict = Verdict(set(seen["sent"]), set(seen["complete"]), served(stack), [], roles)

    def settled() -> bool:
        verdict.events = stack.usage_events()
        return not verdict.damage()

    try:
        until(settled, "every call to be decided", patience)
    except AssertionError:
        print("damage:", json.dumps(verdict.damage(), indent=1))  # noqa: T201
    else:
        _wait(REDELIVERY_SECONDS)
        verdict.events = stack.usage_events()
    print(verdict.summary(), "\nrefused:", Counter(seen["refused"].values()))  # noqa: T201
    return verdict


def _wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, "time to pass", seconds + 10)


def served(stack: Stack) -> set[str]:
    """Return the ids of the requests that reached the demo upstream."""
    endpoint = urlsplit(stack.api("GET", "/api/models")[0]["endpoint"])
    answer = requests.get(f"http://{endpoint.netloc}/demo/requests", timeout=30)
    return {request["id"] for request in answer.json()["requests"]}


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Stack({"YUMEN_GATEWAY_WORKERS": "2"}) as running:
        yield running


def test_every_call_is_metered_once_whatever_dies(stack: Stack) -> None:
    roles = ["nginxWorker", "worker", "redis", "shipper", "nginx", "controlPlane"]
    verdict = chaos(stack, 60, [*roles, "nginxWorker", "shipper", "worker", "redis"])
    assert verdict.damage() == {}
    assert len(verdict.answered) > 0.8 * len(verdict.sent), "most calls must have been answered"
    orphans = [r for r, outcome in verdict.outcomes.items() if outcome == "orphan"]
    assert len(orphans) <= 0.01 * len(verdict.sent), "only calls in flight at a kill are orphans"


@pytest.mark.parametrize(
    ("mutant", "damage"),
    [
        ("acknowledge_before_commit", "answered but not metered as complete"),
        ("without_unique_key", "metered more than once"),
    ],
)
def test_the_chaos_finds_a_broken_consumer(mutant: str, damage: str) -> None:
    environment = {"PYTHONPATH": str(MUTANTS), "CHAOS_MUTANT": mutant}
    with Stack(environment) as stack:
        verdict = chaos(stack, 14, ["worker"] * 2, patience=12)
        log = (stack.state / "s" / "log" / "worker.log").read_text()
    assert damage in verdict.damage(), log
