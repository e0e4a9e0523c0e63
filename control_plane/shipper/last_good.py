"""Keeps the configuration that this node last acknowledged on disk, so that it starts alone.

What changed is read by the log of publishes. Everything is read when that does not reach back to
what the file holds.
"""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import redis
import structlog

from control_plane import contract
from control_plane.contract import keys
from control_plane.core import clock
from control_plane.shipper.last_good_file import Base, Entry, LastGoodFile, Revision

_SCAN_COUNT = 500
_TRIES = 20
_BASE_PAUSE_SECONDS = 60.0
"""Before everything is read again when it could not be written, as on a full disk."""
_ENVELOPE = re.compile(
    rb'\s*\{\s*"epoch"\s*:\s*(\d+)\s*,\s*"rev"\s*:\s*(\d+)\s*,\s*"doc"\s*:\s*(.*)\}\s*', re.DOTALL
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Acknowledged:
    """What a node holds, and what it refused; None when it refused more than it tells."""

    revision: Revision
    refused: frozenset[bytes] | None


@dataclass(frozen=True, slots=True)
class _Held:
    """What Redis held at a revision: what led to it from the file's, or from a new base."""

    base: Base | None
    revision: Revision
    changes: Collection[Entry]


class LastGood:
    """The file of one node."""

    def __init__(self, client: redis.Redis, path: Path, node: str) -> None:
        self._redis = client
        self._path = path
        self._node = node
        self._file = LastGoodFile(path)
        self._held: _Held | None = None
        self._base_due = 0.0

    def update(self) -> bool:
        """Write what the node has newly acknowledged; say whether there was something.

        What is written is what Redis held at one revision. It is held back until the node has
        acknowledged that revision.
        """
        self._file.look()
        acknowledged = self._acknowledged()
        if acknowledged is None or acknowledged.revision <= self._file.revision:
            return False
        if self._held is None or self._held.revision <= self._file.revision:
            self._held = self._collect()
        if self._held is None or self._held.revision > acknowledged.revision:
            return False
        if self._held.base is not None and acknowledged.refused is None:
            log.warning("last good configuration waits: the node refuses too much to tell all")
            return False
        held, self._held = self._held, None
        self._write(held, acknowledged.refused)
        return True

    def _write(self, held: _Held, refused: frozenset[bytes] | None) -> None:
        """Write what was held back; without knowing what is *refused*, no base is made."""
        if held.base is None:
            self._file.append(held.revision, held.changes)
            if self._file.has_grown and refused is not None:
                self._file.compact(refused)
        elif refused is not None:
            self._file.replace(held.base, held.revision, held.changes, refused)
            self._base_due = 0.0
            log.info("last good configuration written", revision=keys.revision(*held.revision))

    def _acknowledged(self) -> _Acknowledged | None:
        text = self._redis.hget(keys.node(self._node), "status")
        if text is None:
            return None
        status: dict[str, Any] = json.loads(text)
        refusals = status.get("refusals", ())
        refused = (f"{each['section']}/{each['id']}".encode() for each in refusals)
        return _Acknowledged(
            (status["epoch"], status["revision"]),
            None if status.get("moreRefusals") else frozenset(refused),
        )

    def _collect(self) -> _Held | None:
        """Return what is to be written; None when Redis does not say for the moment."""
        found = self._changes(self._file.revision)
        if found is not None:
            return _Held(None, *found)
        start = self._newest()
        if start is None or clock.monotonic() < self._base_due:
            return None
        self._base_due = clock.monotonic() + _BASE_PAUSE_SECONDS
        base = Base(self._path, start)
        for entry in self._everything():
            base.add(entry)
        # What changed meanwhile is in the base or not; after this it is.
        found = self._changes(start)
        return None if found is None else _Held(base, *found)

    def _everything(self) -> Iterator[Entry]:
        for section in contract.SECTIONS:
            rows = self._redis.hscan_iter(keys.config_section(section), count=_SCAN_COUNT)
            for name, envelope in rows:
                if entry := _entry(section, name, envelope):
                    yield entry

    def _changes(self, start: Revision) -> tuple[Revision, list[Entry]] | None:
        """Return the newest revision and what it changed since *start*; None if that is unknown."""
        for _ in range(_TRIES):
            newest = self._newest()
            changed = None if newest is None else self._changed(start, newest)
            if newest is None or changed is None:
                return None
            found = self._fetch(changed, newest)
            if found is not None:
                return newest, found
        return None

    def _changed(self, start: Revision, newest: Revision) -> list[tuple[str, str]] | None:
        """Return section and id of what changed after *start*; None if the log does not tell."""
        if start[0] != newest[0] or start > newest:
            return None
        entries = cast(
            "list[tuple[bytes, dict[bytes, bytes]]]",
            self._redis.xrange(
                keys.CONFIG_LOG, f"({keys.revision(*start)}", keys.revision(*newest)
            ),
        )
        if len(entries) != newest[1] - start[1] or any(
            b"changes" not in each for _, each in entries
        ):
            return None
        changed = {tuple(pair) for _, each in entries for pair in json.loads(each[b"changes"])}
        return sorted(pair for pair in changed if pair[0] in contract.SECTIONS)

    def _fetch(self, changed: list[tuple[str, str]], revision: Revision) -> list[Entry] | None:
        """Return the documents *changed* as they are at *revision*; None if Redis has moved on."""
        with self._redis.pipeline() as pipe:
            pipe.get(keys.CONFIG_REVISION)
            for section, name in changed:
                pipe.hget(keys.config_section(section), name)
            newest, *envelopes = pipe.execute()
        if newest != keys.revision(*revision).encode():
            return None
        gone = b"%d:%d:" % revision
        found = [
            Entry(_key(section, name.encode()), gone)
            if envelope is None
            else _entry(section, name.encode(), envelope)
            for (section, name), envelope in zip(changed, envelopes, strict=True)
        ]
        return [entry for entry in found if entry is not None]

    def _newest(self) -> Revision | None:
        text = cast("bytes | None", self._redis.get(keys.CONFIG_REVISION))
        return None if text is None else keys.parse_revision(text.decode())


def _key(section: str, name: bytes) -> bytes:
    return b"%b/%b" % (section.encode(), name)


def _entry(section: str, name: bytes, envelope: bytes) -> Entry | None:
    """Return a document of Redis; None for what is no envelope, which a gateway refuses."""
    parts = _ENVELOPE.fullmatch(envelope)
    if parts is None:
        return None
    epoch, number, document = parts.groups()
    return Entry(_key(section, name), b"%b:%b:%b" % (epoch, number, document.replace(b"\n", b" ")))
