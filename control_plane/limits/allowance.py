"""Runs the script by which gateways draw on limits, for those who are no gateway."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import redis

from control_plane.contract import keys
from control_plane.core.root import project_root

_ANSWERS = 5
_REFUSED = 0
_GRANTED = 1


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a request would take of a counter; the rest is the counter's rule, as gateways say it.

    `kind` is `w` for a window, `b` for a bucket, `c` for calls at once; `zone` is `from:offset,…`.
    """

    name: str
    kind: str
    window: str
    zone: str
    limit: int
    burst: int
    cost: int


@dataclasses.dataclass(frozen=True)
class Left:
    """What no gateway has of a counter; None when Redis has lost the counter."""

    units: int | None
    passes: bool
    seconds: float
    """Until the window begins anew; of a counter that lets nothing pass, until it may."""


def look(client: redis.Redis, counters: Sequence[Wanted]) -> list[Left]:
    """Return what is left of *counters*; nothing is taken and nothing changed.

    Raises:
        redis.RedisError: Redis is away.
    """
    arguments: list[str | int] = []
    for each in counters:
        arguments += [each.kind, each.window, each.zone, each.limit, each.burst]
        arguments += [each.cost, each.cost, 0, 0, 0, 0]
    names = [keys.ALLOWANCE_COUNTER + each.name for each in counters]
    known: Any = client
    run_id = known.info("server")["run_id"]
    _, *answer = run(client, run_id, "look", names, "", "", *arguments)
    return [
        _left(*answer[at : at + _ANSWERS], cost=each.cost)
        for at, each in zip(range(0, len(answer), _ANSWERS), counters, strict=True)
    ]


def _left(
    status: int, granted: int, rest: int, milliseconds: int, _generation: int, *, cost: int
) -> Left:
    if status not in (_REFUSED, _GRANTED):
        return Left(None, passes=False, seconds=milliseconds / 1000)
    units = max(0, rest + granted)
    return Left(units, passes=cost <= units, seconds=milliseconds / 1000)


def run(
    client: redis.Redis, run_id: str, command: str, names: Sequence[str], *arguments: str | int
) -> Any:
    """Run the script's *command* on the counters with these keys, and return its answer.

    *run_id* is that of the Redis that the caller has looked at: one that was started anew since
    then is told so.
    """
    all_keys = (keys.ALLOWANCE_BORN, keys.ALLOWANCE_NODES, keys.ALLOWANCE_WANTED, *names)
    return client.eval(_script(), len(all_keys), *all_keys, command, run_id, *arguments)


@functools.cache
def _script() -> str:
    path = project_root() / "openresty" / "lua" / "yumen" / "scripts" / "allowance.lua"
    return path.read_text()
