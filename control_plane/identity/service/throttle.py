"""Slows guessing down: each failed attempt makes the next one wait, on every process alike.

An attempt is counted before it is judged, so that many at once are not all let through, and is
given back when it was right. Counts are in Redis. While Redis is away each process counts for
itself, so guessing is then slowed down less, by as many times as there are processes.
"""

import collections
import dataclasses
import hmac
import math
import threading
from collections.abc import Sequence
from hashlib import sha256

import redis
import structlog

from control_plane.contract import keys
from control_plane.core import clock
from control_plane.core.crypto import Keyring
from control_plane.core.errors import ApiError
from control_plane.core.redis import connect
from control_plane.core.settings import Settings

FORGET_SECONDS = 3600
"""A count is forgotten when nothing was counted for this long."""

_TIMEOUT_SECONDS = 0.5
_RETRY_SECONDS = 5.0
_MOST_KEPT = 10_000

log = structlog.get_logger(__name__)

# KEYS: the count. ARGV: now, how long it is kept, then what to wait after the first attempt,
# the second one and so on; all in milliseconds. Returns how long to wait, and until when the next.
_TAKE = """
local found = redis.call('HMGET', KEYS[1], 'count', 'free', 'last')
local now, keep = tonumber(ARGV[1]), tonumber(ARGV[2])
local count, free, last = tonumber(found[1]) or 0, tonumber(found[2]) or 0, tonumber(found[3]) or 0
if now - last >= keep then count, free = 0, 0 end
if now < free then return { free - now, 0 } end
count = count + 1
free = now + tonumber(ARGV[2 + math.min(count, #ARGV - 2)])
redis.call('HSET', KEYS[1], 'count', count, 'free', free, 'last', now)
redis.call('PEXPIRE', KEYS[1], keep)
return { 0, free }
"""
# KEYS: the count. ARGV: until when the attempt that is given back made the next one wait.
_GIVE_BACK = """
local found = redis.call('HMGET', KEYS[1], 'count', 'free')
if not found[1] then return end
redis.call('HSET', KEYS[1], 'count', math.max(0, tonumber(found[1]) - 1))
if found[2] == ARGV[1] then redis.call('HSET', KEYS[1], 'free', 0) end
"""


class TooManyAttempts(ApiError):  # noqa: N818 - it is an answer, as those of core.errors
    """There were so many failed attempts that the next one has to wait."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(
            429,
            "too_many_attempts",
            f"There were too many attempts: wait {wait_seconds} seconds.",
            headers={"Retry-After": str(wait_seconds)},
        )


@dataclasses.dataclass(frozen=True)
class Limit:
    """How long to wait after the first attempt, the second one and so on; the last one repeats."""

    name: str
    waits: Sequence[int]


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What was counted, to be given back when the attempt turns out to be a good one."""

    key: str
    free: int
    in_redis: bool


class Throttle:
    """Counts attempts by what they are about, such as a user name."""

    def __init__(self, settings: Settings, keyring: Keyring) -> None:
        self._redis = connect(settings, socket_timeout=_TIMEOUT_SECONDS)
        self._secret = keyring
        self._take = self._redis.register_script(_TAKE)
        self._give_back = self._redis.register_script(_GIVE_BACK)
        self._own = _OwnCounts()
        self._away_until = 0.0

    def take(self, limit: Limit, subject: str) -> Attempt:
        """Count an attempt.

        Raises:
            TooManyAttempts: it comes too early; it is not counted.
        """
        key, waits = self._key(limit, subject), [1000 * wait for wait in limit.waits]
        wait, free, in_redis = self._taken(key, waits)
        if wait > 0:
            raise TooManyAttempts(math.ceil(wait / 1000))
        return Attempt(key, free, in_redis)

    def give_back(self, *attempts: Attempt) -> None:
        """Take good attempts out of the count."""
        for attempt in attempts:
            if not attempt.in_redis:
                self._own.give_back(attempt.key, attempt.free)
                continue
            try:
                self._give_back(keys=[attempt.key], args=[attempt.free])
            except redis.RedisError as error:
                self._note_away(error)

    def close(self) -> None:
        """Close the connection to Redis."""
        self._redis.close()

    def _taken(self, key: str, waits: list[int]) -> tuple[int, int, bool]:
        now = int(clock.now().timestamp() * 1000)
        if clock.monotonic() >= self._away_until:
            try:
                wait, free = self._take(keys=[key], args=[now, 1000 * FORGET_SECONDS, *waits])
            except redis.RedisError as error:
                self._note_away(error)
            else:
                return int(wait), int(free), True
        return (*self._own.take(key, waits, now), False)

    def _note_away(self, error: redis.RedisError) -> None:
        self._away_until = clock.monotonic() + _RETRY_SECONDS
        log.warning("throttle_counts_alone", seconds=_RETRY_SECONDS, error=str(error))

    def _key(self, limit: Limit, subject: str) -> str:
        # Digested with a secret: Redis need not know who has accounts here.
        secret = self._secret.derived_key("throttle")
        text = f"{limit.name}|{subject}".encode()
        return keys.throttle(hmac.new(secret, text, sha256).hexdigest()[:32])


class _OwnCounts:
    """The counts of one process, for when Redis is away; those longest unused make room."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: collections.OrderedDict[str, tuple[int, int, int]] = collections.OrderedDict()

    def take(self, key: str, waits: list[int], now: int) -> tuple[int, int]:
        """Do what the script `_TAKE` does."""
        with self._lock:
            count, free, last = self._counts.get(key, (0, 0, 0))
            if now - last >= 1000 * FORGET_SECONDS:
                count, free = 0, 0
            if now < free:
                return free - now, 0
            count += 1
            free = now + waits[min(count, len(waits)) - 1]
            self._counts[key] = (count, free, now)
            self._counts.move_to_end(key)
            if len(self._counts) > _MOST_KEPT:
                self._counts.popitem(last=False)
            return 0, free

    def give_back(self, key: str, free: int) -> None:
        """Do what the script `_GIVE_BACK` does."""
        with self._lock:
            if key in self._counts:
                count, blocked, last = self._counts[key]
                self._counts[key] = (max(0, count - 1), 0 if blocked == free else blocked, last)
