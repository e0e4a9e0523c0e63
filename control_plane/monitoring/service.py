"""The verbs of monitoring: what state breakers are in."""

from collections.abc import Mapping
from typing import TypeVar

import redis

from control_plane.core.redis import connect
from control_plane.core.settings import Settings
from control_plane.monitoring import breaking, nodes
from control_plane.monitoring.breaking import BreakerState

_TIMEOUT_SECONDS = 1.0
NO_REDIS = "Redis, where nodes tell, cannot be reached."
_NO_NODE = "No gateway node is heard."

Id = TypeVar("Id")


def breaker_states(settings: Settings, modes: Mapping[Id, str]) -> dict[Id, BreakerState]:
    """Return what state breakers are in, by their ids, of which *modes* tells the modes.

    A state that nobody knows says why.
    """
    said: list[Mapping[str, BreakerState]] = []
    unknown = _NO_NODE
    if "auto" in modes.values():
        try:
            with connect(settings, socket_timeout=_TIMEOUT_SECONDS) as client:
                said = [node.breakers for node in nodes.reports(client) if node.is_heard]
        except redis.RedisError:
            unknown = NO_REDIS
    merged = {
        id_: breaking.merge(node[str(id_)] for node in said if str(id_) in node)
        if said
        else BreakerState(None, None, unknown)
        for id_ in modes
    }
    return {id_: breaking.by_mode(mode, merged[id_]) for id_, mode in modes.items()}
