"""An explanation as text for people."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from control_plane.checking.explanation import Explanation, Step

_WIDTH: Final = 18


def told(explanation: Explanation) -> str:
    """Return the lines that `yumen check` prints: a line or more for each step, then the end."""
    lines = [line for step in explanation.steps for line in _step(step)]
    lines += [f"! {note}" for note in explanation.notes]
    lines.append(_end(explanation))
    return "\n".join(lines)


def _end(explanation: Explanation) -> str:
    answer = " ".join(str(part) for part in (explanation.status, explanation.code) if part)
    if not explanation.allowed:
        return f"Refused: {answer}. {explanation.detail or ''}".rstrip()
    if explanation.answered_by == "gateway":
        return f"Passes: the gateway itself answers {answer}."
    return "Passes: it would be sent on to the destination."


def _step(step: Step) -> Iterable[str]:
    if step.step in _WAY_IN:
        lines = [_WAY_IN[step.step](step.found)]
    else:
        lines = [line for name in sorted(step.found) for line in _found(name, step.found[name])]
    if step.code is not None:
        lines.append(f"{step.status} {step.code}")
    mark = "✗" if step.code is not None else "✓"
    for number, line in enumerate(lines or [""]):
        start = f"{mark} {step.step}" if number == 0 else ""
        yield f"{start.ljust(_WIDTH)}{line}".rstrip()


def _found(name: str, value: Any) -> Iterable[str]:
    if name in _PHRASES:
        return [_PHRASES[name](each) for each in (value if isinstance(value, list) else [value])]
    return [f"{name} {value if isinstance(value, str) else _plain(value)}"]


def _plain(value: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value[name]}" for name in sorted(value, reverse=True))


def _host(found: Mapping[str, Any]) -> str:
    host, domain = found["host"], found.get("domain")
    return str(host) if domain in (None, host) else f"{host}, domain {domain}"


def _route(found: Mapping[str, Any]) -> str:
    named = f", route {found['route']}, id {found['id']}" if "id" in found else ""
    return f"{found['method']} {found['path']}{named}"


def _limit(rule: Mapping[str, Any]) -> str:
    start = f"'{rule['rule']}': {rule['description']}; takes {rule['cost']}"
    if "left" not in rule:
        return f"{start}; what is left is not known"
    left = "what was used is lost" if rule["left"] is None else f"{rule['left']} left"
    return f"{start}; {left}"


def _breaker(breaker: Mapping[str, Any]) -> str:
    about = f" for {breaker['endpoint']}" if breaker.get("endpoint") else ""
    reason = f": {breaker['reason']}" if breaker.get("reason") else ""
    at = f" (open at {', '.join(breaker['openAt'])})" if breaker.get("openAt") else ""
    return f"{breaker['id']}{about}: {breaker.get('status', 'not known')}{reason}{at}"


def _destination(found: Mapping[str, Any]) -> str:
    path = f"{found['scheme']}://{found['address']}:{found['port']}{found['path']}"
    others = len(found["peers"]) - 1
    ill = "".join(
        f"; {each['node']} leaves out {each['peer']}" for each in found.get("leftOut", ())
    )
    return f"{path} as {found['host']}" + (f"; {others} other peers" if others else "") + ill


_WAY_IN: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "host": _host,
    "tenant": lambda found: f"{found['id']}, {found['status']}",
    "route": _route,
}
_PHRASES: Final[Mapping[str, Callable[[Any], str]]] = {
    "limits": _limit,
    "breakers": _breaker,
    "destination": _destination,
}
