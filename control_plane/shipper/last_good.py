"""Keeps the configuration that this node last acknowledged on disk, so that it starts alone.

The file's first line states epoch, revision, number of documents and the SHA-256 of the rest; each
further line is one document: section, id and `{"epoch", "rev", "doc"}`, separated by tabs.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import redis
import structlog

from control_plane import contract
from control_plane.contract import keys

_SCAN_COUNT = 500
_NEVER = (0, 0)

log = structlog.get_logger(__name__)

Revision = tuple[int, int]
Documents = dict[tuple[bytes, bytes], bytes]


@dataclass(frozen=True, slots=True)
class _Acknowledged:
    revision: Revision
    refused: frozenset[tuple[bytes, bytes]]


class LastGood:
    """The file `last_good` of one node."""

    def __init__(self, client: redis.Redis, path: Path, node: str) -> None:
        self._redis = client
        self._path = path
        self._node = node
        self._held: tuple[Revision, Documents] | None = None
        self._written = _read_revision(path)

    def update(self) -> bool:
        """Write the file if the node acknowledged something newer; say whether it was written.

        What is written is what Redis held while its revision stood still. It is held back until
        the node has acknowledged that revision; what the node refused keeps its former content.
        """
        acknowledged = self._acknowledged()
        if acknowledged is None or acknowledged.revision <= self._written:
            return False
        if self._held is None or self._held[0] <= self._written:
            self._held = self._dump()
        if self._held is None or self._held[0] > acknowledged.revision:
            return False
        revision, documents = self._held
        self._held = None
        self._keep_former(documents, acknowledged.refused)
        self._write(revision, documents)
        self._written = revision
        log.info("last good configuration written", revision=keys.revision(*revision))
        return True

    def _acknowledged(self) -> _Acknowledged | None:
        text = self._redis.hget(keys.node(self._node), "status")
        if text is None:
            return None
        status: dict[str, Any] = json.loads(text)
        refused = (
            (refusal["section"].encode(), refusal["id"].encode())
            for refusal in status.get("refusals", ())
        )
        return _Acknowledged((status["epoch"], status["revision"]), frozenset(refused))

    def _dump(self) -> tuple[Revision, Documents] | None:
        """Return what Redis holds and its revision, None when that moved meanwhile."""
        before = cast("bytes | None", self._redis.get(keys.CONFIG_REVISION))
        if before is None:
            return None
        documents: Documents = {}
        for section in contract.SECTIONS:
            key = keys.config_section(section)
            for name, value in self._redis.hscan_iter(key, count=_SCAN_COUNT):
                documents[section.encode(), name] = value
        if self._redis.get(keys.CONFIG_REVISION) != before:
            return None
        return keys.parse_revision(before.decode()), documents

    def _keep_former(self, documents: Documents, refused: Iterable[tuple[bytes, bytes]]) -> None:
        former = _read_documents(self._path) if refused else {}
        for document in refused:
            documents.pop(document, None)
            if document in former:
                documents[document] = former[document]

    def _write(self, revision: Revision, documents: Documents) -> None:
        lines = [b"\t".join((*key, value)) + b"\n" for key, value in sorted(documents.items())]
        digest = hashlib.sha256()
        for line in lines:
            digest.update(line)
        head = {
            "epoch": revision[0],
            "revision": revision[1],
            "documents": len(lines),
            "sha256": digest.hexdigest(),
        }
        temporary = self._path.with_name("last_good.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        self._replace(temporary)

    def _replace(self, temporary: Path) -> None:
        """Put the new file in place; there is never a moment without one, and the former stays."""
        former = self._path.with_name("last_good.1")
        if self._path.exists():
            former.unlink(missing_ok=True)
            os.link(self._path, former)
        temporary.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _read_revision(path: Path) -> Revision:
    """Return the revision that the file holds; of a file that is not sound, none."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        stated = json.loads(head)
        if hashlib.sha256(body).hexdigest() != stated["sha256"]:
            return _NEVER
        return stated["epoch"], stated["revision"]
    except (OSError, ValueError, KeyError, TypeError):
        return _NEVER


def _read_documents(path: Path) -> Documents:
    if _read_revision(path) == _NEVER:
        return {}
    lines = (line.split(b"\t", 2) for line in path.read_bytes().splitlines()[1:])
    return {(section, name): value for section, name, value in lines}
