"""The configuration in Redis: which revision it holds, and the one step that moves it on.

The step is fenced. It takes place only while Redis still holds the revision that the publisher
started from, so a publisher that stalled and woke up after another one took over changes nothing.
"""

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import redis
from redis.client import Pipeline

from control_plane.contract import keys
from control_plane.core.ids import new_id

LOG_LENGTH = 10_000
_DOCUMENTS_A_CHUNK = 500
_STAGED_SECONDS = 3600

Key = tuple[str, str]
"""Section and id of a document."""

Staged = dict[str, str]
"""Section to the key that holds all its documents, in the new form."""


class Revision(NamedTuple):
    """Epoch and number, compared in this order."""

    epoch: int
    number: int

    def __str__(self) -> str:
        """Return the text form, as Redis and gateways have it."""
        return keys.revision(*self) if self.number >= 0 else "none"


class FencedError(Exception):
    """Redis holds another revision than the publisher started from: somebody else moved it."""


def held(client: "redis.Redis | Pipeline") -> Revision:
    """Return the revision that Redis holds.

    Its number is -1, which no publish ever has, when Redis lost the revision or the log, or when
    they do not agree; the epoch is then the highest that is still seen.
    """
    stored = _parse(client.get(keys.CONFIG_REVISION))
    newest: Any = client.xrevrange(keys.CONFIG_LOG, count=1)
    logged = _parse(newest[0][0] if newest else None)
    if stored == logged:
        return stored
    return Revision(max(stored.epoch, logged.epoch), -1)


def _parse(text: Any) -> Revision:
    try:
        return Revision(*keys.parse_revision((text or b"").decode()))
    except ValueError:
        return Revision(0, -1)


def move(
    client: redis.Redis,
    start: Revision,
    to: Revision,
    changes: Mapping[Key, dict[str, Any] | None],
) -> None:
    """Write changed documents (None removes one), the log entry and the revision, all or nothing.

    Raises:
        FencedError: Redis does not hold *start*.
    """
    entry = {"changes": json.dumps(sorted(changes), ensure_ascii=False, separators=(",", ":"))}
    with client.pipeline() as pipe:
        _watch(pipe, start)
        pipe.multi()
        for section, document_id in (key for key, document in changes.items() if document is None):
            pipe.hdel(keys.config_section(section), document_id)
        _put(pipe, to, ((key, document) for key, document in changes.items() if document))
        _finish(pipe, to, entry)


def stage(
    client: redis.Redis, to: Revision, documents: Iterable[tuple[Key, dict[str, Any]]]
) -> Staged:
    """Write the whole configuration beside what Redis holds, for `replace`; nobody reads it yet.

    A million documents in one transaction would stop Redis for seconds. What is not used goes by
    itself.
    """
    token = new_id().hex
    staged: Staged = {}
    rest = iter(documents)
    while chunk := list(islice(rest, _DOCUMENTS_A_CHUNK)):
        with client.pipeline(transaction=False) as pipe:
            for section, fields in _fields(to, chunk).items():
                staged[section] = keys.staged_section(section, token)
                pipe.hset(staged[section], mapping=fields)
                pipe.expire(staged[section], _STAGED_SECONDS)
            pipe.execute()
    return staged


def replace(client: redis.Redis, start: Revision, to: Revision, staged: Staged) -> None:
    """Put what was staged in place of whatever Redis holds, all or nothing.

    Raises:
        FencedError: Redis does not hold *start*, or not what was staged.
    """
    with client.pipeline() as pipe:
        _watch(pipe, start, *staged.values())
        if staged and pipe.exists(*staged.values()) != len(staged):
            raise FencedError("Redis lost what was staged.")
        stale = list(pipe.scan_iter(match=keys.config_section("*")))
        pipe.multi()
        if stale:
            pipe.unlink(*stale)
        for section, key in staged.items():
            pipe.rename(key, keys.config_section(section))
            pipe.persist(keys.config_section(section))
        _finish(pipe, to, {"reload": "1"})


def _watch(pipe: Pipeline, start: Revision, *more: str) -> None:
    pipe.watch(keys.CONFIG_REVISION, keys.CONFIG_LOG, *more)  # type: ignore[no-untyped-call]
    found = held(pipe)
    if found != start:
        raise FencedError(f"Redis holds {found}, not {start}.")


def _put(pipe: Pipeline, to: Revision, documents: Iterable[tuple[Key, dict[str, Any]]]) -> None:
    rest = iter(documents)
    while chunk := list(islice(rest, _DOCUMENTS_A_CHUNK)):
        for section, fields in _fields(to, chunk).items():
            pipe.hset(keys.config_section(section), mapping=fields)


def _fields(
    to: Revision, documents: Iterable[tuple[Key, dict[str, Any]]]
) -> dict[str, dict[Any, Any]]:
    """Return section to document id to envelope."""
    sections: dict[str, dict[Any, Any]] = {}
    for (section, document_id), document in documents:
        envelope = {"epoch": to.epoch, "rev": to.number, "doc": document}
        text = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))
        sections.setdefault(section, {})[document_id] = text
    return sections


def _finish(pipe: Pipeline, to: Revision, entry: dict[Any, Any]) -> None:
    pipe.xadd(keys.CONFIG_LOG, entry, id=str(to), maxlen=LOG_LENGTH, approximate=True)
    pipe.set(keys.CONFIG_REVISION, str(to))
    try:
        pipe.execute()
    except redis.WatchError as error:
        raise FencedError("Somebody else published at the same moment.") from error
