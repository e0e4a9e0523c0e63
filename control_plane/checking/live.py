"""What holds at this moment: how much is left of limits, which breakers are open, who is ill.

Everything is read; nothing is taken of a limit, and no breaker is asked for a permit.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import redis

from control_plane import limits
from control_plane.checking.explanation import Explanation, Step
from control_plane.contract import keys
from control_plane.core import clock
from control_plane.core.signals import Signals

_SILENT_MS: Final = 5000
"""A node that has said nothing for so long is none."""
_DEGRADATION: Final = "degradation"
_OPEN: Final = "open"
_FORCED_OPEN: Final = "forcedOpen"

Rule = dict[str, Any]
Nodes = Mapping[str, Mapping[str, Any]]
"""Node to what it says of its breakers, or of its targets."""


def judge(explanation: Explanation, client: redis.Redis) -> None:
    """Add to *explanation* what holds now, and end it at the first step that refuses for that."""
    is_away = False
    for step in tuple(explanation.steps):
        for name in _LOOKS.keys() & step.found.keys():
            try:
                _LOOKS[name](explanation, step, client)
            except redis.RedisError:
                is_away = True
        if step.code is not None:
            break
    if is_away:
        explanation.notes.append(
            "Redis does not answer: it is not known how much is left of limits, which breakers are "
            "open and which degradations in force. Until it does, a limit's onOutage decides."
        )


def signals(client: redis.Redis) -> dict[str, float]:
    """Return which degradations are in force, `degradation/<rule>` to seconds; none without Redis.

    A gateway asks for them on the way, and explains by them.
    """
    try:
        held = Signals(client, "check").read(_DEGRADATION)
    except redis.RedisError:
        return {}
    return {f"{_DEGRADATION}/{name}": _seconds_until(held[name].until) for name in held}


def _limits(explanation: Explanation, step: Step, client: redis.Redis) -> None:
    rules: list[Rule] = step.found["limits"]
    for rule, left in zip(
        rules, limits.look(client, [_wanted(each) for each in rules]), strict=True
    ):
        rule["left"], rule["seconds"] = left.units, left.seconds
    for rule in rules:
        what = f"limit '{rule['rule']}' ({rule['description']})"
        if rule["left"] is None:
            _lost(explanation, step, rule, what)
        elif rule["left"] < rule["cost"]:
            seconds = max(1, math.ceil(rule["seconds"]))
            explanation.refuse(
                step,
                429,
                "rate_limit_exceeded",
                f"Of the {what} {rule['left']} is left that no gateway has, and the request needs "
                f"{rule['cost']}; try again in {seconds} s.",
            )
        if step.code is not None:
            return


def _lost(explanation: Explanation, step: Step, rule: Rule, what: str) -> None:
    """Tell of a counter that Redis has lost."""
    told = f"Redis has lost what was used of the {what}"
    if rule["onOutage"] == "closed":
        explanation.refuse(step, 503, "limits_unavailable", f"{told}; it is being found out.")
    else:
        explanation.notes.append(f"{told}: until it is known again, onOutage decides.")


def _wanted(rule: Rule) -> limits.Wanted:
    return limits.Wanted(
        name=rule["counter"],
        kind=rule.pop("kind"),
        window=rule.get("window") or "",
        zone=rule.pop("zone"),
        limit=rule["limit"],
        burst=rule.get("burst") or 0,
        cost=rule["cost"],
    )


def _breakers(explanation: Explanation, step: Step, client: redis.Redis) -> None:
    for breaker in step.found["breakers"]:
        if breaker["mode"] == _FORCED_OPEN:
            breaker["status"], breaker["reason"] = _OPEN, "somebody has set its mode so"
            _refuse_open(explanation, step, breaker)
            return
    held = Signals(client, "check").read("breaker")
    nodes = _told(client, "breakers")
    for breaker in step.found["breakers"]:
        name = breaker["id"]
        states = {node: told[name] for node, told in nodes.items() if name in told}
        signal = held.get(name)
        said = signal.value if signal is not None else {}
        breaker["status"] = said.get("status") or "closed"
        breaker["reason"] = said.get("reason")
        breaker["openAt"] = sorted(n for n, state in states.items() if state["status"] == _OPEN)
        if signal is not None and breaker["status"] == _OPEN:
            breaker["seconds"] = _seconds_until(signal.until)
            _refuse_open(explanation, step, breaker)
            return


def _refuse_open(explanation: Explanation, step: Step, breaker: dict[str, Any]) -> None:
    detail = f"The circuit breaker {breaker['id']} is open: {breaker['reason']}."
    explanation.refuse(step, 503, "circuit_open", detail)


def _destination(explanation: Explanation, step: Step, client: redis.Redis) -> None:
    """Add which of the peers nodes have left out."""
    upstream = step.found["destination"].get("upstream")
    if upstream is None:
        return
    ill = [
        {"node": node, "peer": peer, "reason": state.get("reason")}
        for node, told in sorted(_told(client, "targets").items())
        for peer, state in sorted((told.get(upstream) or {}).items())
        if not state["healthy"]
    ]
    step.found["destination"]["leftOut"] = ill
    if ill:
        explanation.notes.append("Some gateways leave out peers of the upstream: see leftOut.")


_LOOKS: Final[Mapping[str, Callable[[Explanation, Step, redis.Redis], None]]] = {
    "limits": _limits,
    "breakers": _breakers,
    "destination": _destination,
}


def _told(client: redis.Redis, field: str) -> Nodes:
    """Return what each node that is heard says in *field* of its report."""
    known: Any = client
    oldest = _now_ms() - _SILENT_MS
    nodes = [name.decode() for name in known.zrangebyscore(keys.NODES, oldest, "+inf")]
    texts = {node: known.hget(keys.node(node), field) for node in nodes}
    return {node: json.loads(text) for node, text in texts.items() if text}


def _seconds_until(milliseconds: int) -> float:
    return max(0.0, (milliseconds - _now_ms()) / 1000)


def _now_ms() -> int:
    return round(clock.now().timestamp() * 1000)
