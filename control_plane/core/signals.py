"""Publishes and reads signals, the short-lived facts that nodes and the worker tell each other.

What a signal is stands in `control_plane/contract/signals.py`; the gateway's side is
`openresty/lua/yumen/signals.lua`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from control_plane.contract import keys
from control_plane.contract.signals import KINDS, PUBLISH, READ

_KEYS: Final = (keys.SIGNALS_STATE, keys.SIGNALS)
_MILLISECONDS: Final = 1000


@dataclass(frozen=True)
class Signal:
    """What holds now under a name.

    `until` and `generation` are whole numbers; `until` is in Unix milliseconds by Redis' clock, and
    a later signal of the same name has the higher generation.
    """

    value: Mapping[str, Any]
    until: int
    generation: int
    by: str


class Signals:
    """The signals of one Redis, under the name of who publishes.

    Every method raises redis.RedisError when Redis is away.
    """

    def __init__(self, client: redis.Redis, by: str) -> None:
        self._client = client
        self._by = by

    def publish(
        self,
        kind: str,
        name: str,
        value: Mapping[str, Any],
        seconds: float,
        replacing: int | None = None,
    ) -> Signal | None:
        """Say that *value* holds for the next *seconds*; return the signal as it stands.

        With *replacing*, only when what lives under the name is of that generation, or nothing does
        (0: only when nothing does). Otherwise nothing is changed, and None is returned.

        Raises:
            ValueError: the kind is unknown.
        """
        expected = "" if replacing is None else str(replacing)
        milliseconds = round(seconds * _MILLISECONDS)
        arguments = (_field(kind, name), json.dumps(value), milliseconds, self._by, expected)
        done, _, text = self._run(PUBLISH, *arguments)
        return _signal(text) if done else None

    def end(self, kind: str, name: str) -> None:
        """Say that what stands under the name does not hold any more."""
        self.publish(kind, name, {}, 0)

    def read(self, kind: str) -> dict[str, Signal]:
        """Return the signals of a kind that hold now, by their names."""
        now, _, *pairs = self._run(READ)
        start = _field(kind, "")
        found = {
            field.decode().removeprefix(start): _signal(text)
            for field, text in zip(pairs[::2], pairs[1::2], strict=True)
            if field.startswith(start.encode())
        }
        return {name: signal for name, signal in found.items() if signal.until > now}

    def _run(self, script: str, *arguments: str | int) -> list[Any]:
        return cast("list[Any]", self._client.eval(script, len(_KEYS), *_KEYS, *arguments))


def _field(kind: str, name: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"unknown kind of signal: {kind!r}")
    return f"{kind}/{name}"


def _signal(text: bytes) -> Signal:
    held = json.loads(text)
    return Signal(held["value"], held["until"], held["generation"], held["by"])
