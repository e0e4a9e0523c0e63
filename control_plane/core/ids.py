"""Makes row ids: UUID version 7, ordered by the time they were made (RFC 9562)."""

import os
import uuid

from control_plane.core import clock

_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62


def new_id() -> uuid.UUID:
    """Return a new id; ids of different milliseconds sort by time."""
    milliseconds = int(clock.now().timestamp() * 1000)
    random = int.from_bytes(os.urandom(10), "big")
    rand_a = (random >> 68) << 64
    rand_b = random & ((1 << 62) - 1)
    return uuid.UUID(int=(milliseconds << 80) | _VERSION | rand_a | _VARIANT | rand_b)
