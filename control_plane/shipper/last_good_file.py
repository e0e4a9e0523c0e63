"""The file `last_good`: a base that a gateway starts from fast, and behind it what changed since.

It is a sequence of blocks: a head, which is one line of JSON, then a line for each document. The
first block is the base and holds everything; each further one holds what a step of the
configuration changed, so that a change costs what changed. A block counts when its checksum fits
and it follows on the one before; a torn one ends the file and is written over.
"""

import array
import hashlib
import heapq
import json
import mmap
import os
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, NamedTuple, Self

from control_plane.contract import keys

Revision = tuple[int, int]
NEVER: Revision = (0, 0)

_HEAD_BYTES = 256
SMALL_BYTES = 1024 * 1024
_CHANGES_SHARE = 4
_OFFSET_BITS = 40
_BUFFER_BYTES = 1024 * 1024


class Entry(NamedTuple):
    """A document: `section/id`, and `epoch:revision:JSON` as a gateway keeps it.

    Without JSON it says that the document is gone.
    """

    key: bytes
    value: bytes

    @property
    def line(self) -> bytes:
        """The line of it."""
        return b"%b\t%b\n" % self

    @property
    def is_gone(self) -> bool:
        """Whether there is no document any more."""
        return self.value.endswith(b":")

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Return what *line* says."""
        key, _, value = line[:-1].partition(b"\t")
        return cls(key, value)


_NOTHING = Entry(b"", b":")


@dataclass(frozen=True, slots=True)
class _Block:
    """Where a sound block is, and which revision it leads to."""

    revision: Revision
    start: int
    lines: int
    end: int


class Base:
    """All documents that a revision has, gathered in any order.

    They come out in the order of the CRC-32 of their keys: a gateway's shared memory is a tree by
    it, and takes them in several times as fast. What is gathered lies in a file beside *path*,
    because it is too much to be held.
    """

    def __init__(self, path: Path, revision: Revision) -> None:
        self.revision = revision
        self._path = path.with_name(path.name + ".unsorted")
        self._file = _create(self._path)
        self._places = array.array("Q")
        self._end = 0

    def add(self, entry: Entry) -> None:
        """Take a document in."""
        line = entry.line
        self._file.write(line)
        self._places.append(place(entry.key) << _OFFSET_BITS | self._end)
        self._end += len(line)

    def take_out(self) -> Iterator[Entry]:
        """Yield the documents in order; nothing is left then."""
        self._file.close()
        if self._end:
            with (
                self._path.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text,
            ):
                for where in sorted(self._places):
                    start = where & ((1 << _OFFSET_BITS) - 1)
                    yield Entry.read(text[start : text.find(b"\n", start) + 1])
        self._path.unlink()


class LastGoodFile:
    """The file at *path*; one process writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blocks: list[_Block] = []
        self.look()

    def look(self) -> None:
        """Read the file if it is not the one that was written last, as when somebody removed it."""
        end = self._blocks[-1].end if self._blocks else 0
        if not end or not self._path.exists() or self._path.stat().st_size != end:
            self._blocks = _read(self._path)

    @property
    def revision(self) -> Revision:
        """The revision that it holds; `NEVER` when there is no sound file."""
        return self._blocks[-1].revision if self._blocks else NEVER

    @property
    def has_grown(self) -> bool:
        """Whether what changed since has become much beside the base."""
        base, end = self._blocks[0].end, self._blocks[-1].end
        return end - base > max(SMALL_BYTES, base // _CHANGES_SHARE)

    def append(self, revision: Revision, changes: Collection[Entry]) -> None:
        """Add what changed since the revision that it holds.

        A gateway judges these documents when it starts, so they may be such as it refuses.
        """
        with self._path.open("r+b") as file:
            file.truncate(self._blocks[-1].end)
            file.seek(self._blocks[-1].end)
            block = _write_block(file, self.revision, revision, changes)
            sync(file)
        self._blocks.append(block)

    def replace(
        self,
        base: Base,
        revision: Revision,
        changes: Collection[Entry],
        refused: Collection[bytes],
    ) -> None:
        """Begin anew with *base* and with what leads from there to *revision*.

        What a gateway has *refused* has no place in a base: it follows as a change, behind all that
        was held of it before, so that its last good form comes back and the refusal too.
        """
        apart = self._history(refused)

        def others() -> Iterator[Entry]:
            for entry in base.take_out():
                if entry.key in refused:
                    apart.append(entry)
                else:
                    yield entry

        self._rewrite(base.revision, others(), revision, chain(apart, changes))

    def compact(self, refused: Collection[bytes]) -> None:
        """Make one base of all that is held; *refused* as in `replace`."""
        apart = self._history(refused)
        changed = {entry.key: entry for entry in self._entries(self._blocks[1:])}
        changed |= dict.fromkeys(refused, _NOTHING)
        former = (each for each in self._entries(self._blocks[:1]) if each.key not in changed)
        later = (each for each in changed.values() if not each.is_gone)
        in_order = heapq.merge(
            former,
            sorted(later, key=lambda entry: place(entry.key)),
            key=lambda entry: place(entry.key),
        )
        self._rewrite(self.revision, in_order, self.revision, apart)

    def _rewrite(
        self,
        base: Revision,
        entries: Iterable[Entry],
        revision: Revision,
        changes: Iterable[Entry],
    ) -> None:
        """Put a new file in place; there is never a moment without one."""
        temporary = self._path.with_name(self._path.name + ".tmp")
        with _create(temporary) as file:
            blocks = [
                _write_block(file, None, base, entries),
                _write_block(file, base, revision, changes),
            ]
            sync(file)
        temporary.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self._blocks = blocks

    def _history(self, wanted: Collection[bytes]) -> list[Entry]:
        """Return all that is held of the documents *wanted*, oldest first."""
        blocks = self._blocks if wanted else ()
        return [entry for entry in self._entries(blocks) if entry.key in wanted]

    def _entries(self, blocks: Iterable[_Block]) -> Iterator[Entry]:
        for block in blocks:
            with self._path.open("rb", buffering=_BUFFER_BYTES) as file:
                file.seek(block.lines)
                left = block.end - block.lines
                while left:
                    line = file.readline()
                    left -= len(line)
                    yield Entry.read(line)


def place(key: bytes) -> int:
    """Return where *key* comes: by 24 bits of its CRC-32, so that an offset fits beside them."""
    return zlib.crc32(key) >> 8


def _write_block(
    file: IO[bytes], follows: Revision | None, revision: Revision, entries: Iterable[Entry]
) -> _Block:
    """Write a block where *file* stands; its head, which tells of the lines, comes last."""
    start = file.tell()
    file.write(b" " * _HEAD_BYTES)
    digest = hashlib.sha256()
    number = length = 0
    for entry in entries:
        line = entry.line
        file.write(line)
        digest.update(line)
        number += 1
        length += len(line)
    head = {
        "follows": None if follows is None else keys.revision(*follows),
        "epoch": revision[0],
        "revision": revision[1],
        "documents": number,
        "bytes": length,
        "sha256": digest.hexdigest(),
    }
    file.seek(start)
    file.write(json.dumps(head).encode().ljust(_HEAD_BYTES - 1) + b"\n")
    file.seek(0, os.SEEK_END)
    return _Block(revision, start, start + _HEAD_BYTES, start + _HEAD_BYTES + length)


def _read(path: Path) -> list[_Block]:
    """Return the blocks of the file as far as they are sound; none when the base is not."""
    blocks: list[_Block] = []
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text,
        ):
            while block := _next_block(text, blocks[-1] if blocks else None):
                blocks.append(block)
    except (OSError, ValueError):
        pass  # there is none, or it is empty
    return blocks


def _next_block(text: mmap.mmap, former: _Block | None) -> _Block | None:
    start = 0 if former is None else former.end
    follows = None if former is None else keys.revision(*former.revision)
    lines = start + _HEAD_BYTES
    try:
        head = json.loads(text[start:lines])
        end = lines + head["bytes"]
        with memoryview(text) as view, view[lines:end] as body:
            sound = hashlib.sha256(body).hexdigest() == head["sha256"]
        if not sound or end > len(text) or head["follows"] != follows:
            return None
        return _Block((head["epoch"], head["revision"]), start, lines, end)
    except (ValueError, KeyError, TypeError):
        return None


def _create(path: Path) -> IO[bytes]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    return os.fdopen(descriptor, "w+b", buffering=_BUFFER_BYTES)


def sync(file: IO[bytes]) -> None:
    """Have on the disk what was written to *file*."""
    file.flush()
    os.fsync(file.fileno())
