"""How services do as a worker has summed it up, told to the API by Redis.

The API runs in many processes that see a request now and then; what calls were made in the last
seconds is known only by who reads the nodes all the time.
"""

import dataclasses
import datetime
import json
import os
import socket
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from control_plane.contract import keys
from control_plane.core import clock, heartbeats
from control_plane.core.redis import connect
from control_plane.core.settings import Settings
from control_plane.monitoring.breaking import CLOSED
from control_plane.monitoring.readings import Reading, Readings

_KEPT_SECONDS = 5
_TIMEOUT_SECONDS = 2.0
_FORGET_EVERY = 600
_EXACT = 3


@dataclass(frozen=True, slots=True)
class Summary:
    """What was known at a moment: the readings of services that do something, loads of nodes."""

    at: datetime.datetime
    readings: Mapping[str, Reading]
    loads: Mapping[str, float]
    """Percent, by the node's name."""


def run_summing_up(
    failing: Callable[[], Collection[str]], settings: Settings, stop: threading.Event
) -> None:
    """Sum up each second, and say that the worker lives and what is *failing* in it."""
    name = f"{socket.gethostname()}-{os.getpid()}"
    with connect(settings, socket_timeout=_TIMEOUT_SECONDS) as client:
        readings = Readings(client)
        turns = 0
        while not stop.wait(heartbeats.EVERY_SECONDS):
            heartbeats.beat(client, heartbeats.WORKER, name, failing())
            write(client, readings)
            if turns % _FORGET_EVERY == 0:
                heartbeats.forget(client)
            turns += 1
        heartbeats.end(client, heartbeats.WORKER, name)


def write(client: redis.Redis, readings: Readings) -> None:
    """Read the nodes, and write down what they say together.

    Raises:
        redis.RedisError: Redis is away.
    """
    found = readings.read()
    said = {
        "at": round(clock.now().timestamp() * 1000),
        "loads": readings.loads,
        "services": {
            key: [
                round(value, _EXACT) if isinstance(value, float) else value
                for value in dataclasses.astuple(reading)
            ]
            for key, reading in found.items()
            if reading.rate or reading.concurrency or reading.breaker != CLOSED
        },
    }
    client.set(keys.READINGS, json.dumps(said), ex=_KEPT_SECONDS)


def parse(text: bytes) -> Summary:
    """Return the summary that a worker wrote.

    Raises:
        ValueError: it is of another version.
    """
    said: dict[str, Any] = json.loads(text)
    try:
        return Summary(
            at=datetime.datetime.fromtimestamp(said["at"] / 1000, datetime.UTC),
            readings={key: Reading(*values) for key, values in said["services"].items()},
            loads=said["loads"],
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a summary: {error!r}") from error
