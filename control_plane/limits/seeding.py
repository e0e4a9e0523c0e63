"""Tells Redis what was used of counters that it lost, from the usage that the database has.

The gateways refuse what such a counter is about until they are told. So nothing of it begins
meanwhile, and what began before is in the database once the stream of usage has been taken in as
far as it went when the counter was asked for. It is told once; the script sees to that.
"""

import dataclasses
import datetime
import uuid
from typing import Any
from urllib.parse import unquote

import redis
import structlog
from sqlalchemy.orm import Session

from control_plane import usage
from control_plane.contract import keys
from control_plane.core import plugins, tenancy
from control_plane.core.plugins import JobContext
from control_plane.limits import allowance, documents

_SETTLE_MS = 3000
"""After Redis' counters began: until then shippers send what it may have lost again."""
_NEVER = uuid.UUID(int=0)
_ROUTE_IS_BUILT_IN = "/"

log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Counter:
    """What a counter's name says: of which rule it is, and whose."""

    document: str
    rule: str
    ids: dict[str, str]
    """Scope to id."""


def parse(key: str) -> Counter:
    """Return what the Redis key of a counter says.

    Raises:
        ValueError: it is not the key of a counter.
    """
    if not key.startswith(keys.ALLOWANCE_COUNTER):
        raise ValueError(f"not a counter: {key!r}")
    document, rule, *scopes = key.removeprefix(keys.ALLOWANCE_COUNTER).split("/")
    named = (each.partition(":") for each in scopes)
    return Counter(document, unquote(rule), {name: unquote(value) for name, _, value in named})


class Seeder:
    """Answers what gateways want to know; its `run` is a job of the worker."""

    def __init__(self) -> None:
        self._marks: dict[bytes, bytes] = {}
        """Wanted counter to how far the stream of usage went when it was first seen."""

    def run(self, context: JobContext) -> None:
        """Tell what was used of the counters that are wanted, as far as that is known already."""
        client: Any = context.redis
        wanted: dict[bytes, bytes] = client.hgetall(keys.ALLOWANCE_WANTED)
        run_id = client.info("server")["run_id"]
        if not wanted or not _is_settled(client, run_id):
            self._marks.clear()
            return
        newest = client.xrevrange(keys.USAGE, count=1)
        oldest = client.xrange(keys.USAGE, count=1)
        waiting = _position(oldest[0][0]) if oldest else None
        for key, span in wanted.items():
            mark = self._marks.setdefault(key, newest[0][0] if newest else b"0-0")
            if waiting is None or waiting > _position(mark):
                self._tell(context, key, span, run_id)
                del self._marks[key]

    def _tell(self, context: JobContext, key: bytes, span: bytes, run_id: str) -> None:
        start, _, end = span.decode().partition(":")
        period = usage.Period(_moment(start), _moment(end), "UTC")
        with tenancy.platform_context(), context.database.session(write=False) as session:
            used = used_of(session, parse(key.decode()), period)
        client: Any = context.redis
        if used is None:
            client.hdel(keys.ALLOWANCE_WANTED, key)
            return
        allowance.run(client, run_id, "seed", [key.decode()], "worker", start, used)
        log.info("counter_rebuilt", counter=key.decode(), used=used)


def used_of(session: Session, counter: Counter, period: usage.Period) -> int | None:
    """Return what was used of a counter in *period*; None when its rule is gone.

    Where it cannot be told whose a call was, it counts: a limit must rather be too tight.
    """
    document = documents.compile_limits(session, [counter.document]).get(counter.document)
    rules = document["rules"] if document is not None else ()
    rule = next((each for each in rules if each["id"] == counter.rule), None)
    if rule is None:
        return None
    ids = {**rule["match"], **counter.ids}
    if counter.document != documents.PLATFORM:
        ids["tenant"] = counter.document
    used = usage.count_used(
        session,
        period,
        usage.Chosen(
            tenant_id=_uuid(ids.get("tenant")),
            key_id=_uuid(ids.get("key")),
            model_id=_uuid(ids.get("model")),
            user_id=ids.get("user"),
            endpoint=_endpoint(session, ids.get("route")),
        ),
    )
    return used.tokens if rule["meter"] == "tokens" else used.calls


def _endpoint(session: Session, route: str | None) -> str | None:
    """Return what usage calls a route: its name."""
    if route is None or route.startswith(_ROUTE_IS_BUILT_IN):
        return route
    wanted = _uuid(route)
    answers = plugins.manager().hook.yumen_names(session=session, ids={wanted})
    return next((each[wanted] for each in answers if wanted in each), None)


def _is_settled(client: redis.Redis, run_id: str) -> bool:
    """Tell whether Redis' counters are those of this run, and have been for a while."""
    born: Any = client.hgetall(keys.ALLOWANCE_BORN)
    if born.get(b"run") != run_id.encode():
        return False
    seconds, microseconds = client.time()
    return bool(seconds * 1000 + microseconds // 1000 - int(born[b"at"]) >= _SETTLE_MS)


def _position(stream_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = stream_id.partition(b"-")
    return int(milliseconds), int(number)


def _moment(milliseconds: str) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(milliseconds) / 1000, datetime.UTC)


def _uuid(text: str | None) -> uuid.UUID | None:
    try:
        return None if text is None else uuid.UUID(text)
    except ValueError:
        return _NEVER
