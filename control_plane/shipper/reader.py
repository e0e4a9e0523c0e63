"""Reads a worker's journal while it is being written, and after its writer died."""

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path

from control_plane.contract import journal
from control_plane.contract.usage_stream import CHUNK_BYTES, START, Chunk, Position

_NOTHING = b"\0" * journal.FRAME.size
_NODE = re.compile(r"[a-z0-9-]{1,32}")
_LOOK_AHEAD = journal.frame_bytes(journal.MAX_PAYLOAD_BYTES)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a segment: whole frames up to *end*, or damage."""

    end: int
    data: bytes
    damage: str = ""


class Segment:
    """One segment file.

    What is zero where a frame would begin is the end so far. Bytes that are no sound frame may be
    a store under way; they are damage only when nobody can be writing them any more.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._file).st_size

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def node(self) -> str | None:
        """Return the node that the header names, None while it names none."""
        try:
            node = self._header().node
        except journal.JournalError:
            return None
        return node if _NODE.fullmatch(node) else None

    def sealed(self) -> int:
        """Return where the segment ends for good, 0 while its writer is still at it."""
        try:
            sealed = self._header().sealed
        except journal.JournalError:
            return 0
        return sealed if journal.HEADER_BYTES <= sealed <= self._size else 0

    def read(self, at: int, *, dead: bool) -> Span | None:
        """Return what stands at *at*; None when nothing does, which is final if *dead* or sealed.

        Whether more can come is asked before the bytes are read, never after.
        """
        sealed = self.sealed()
        if self.is_blank(at) and not (sealed or dead):
            return None
        window = os.pread(self._file, CHUNK_BYTES, at)
        end = 0
        for end, _ in journal.read_frames(window):  # noqa: B007 - the last one is wanted
            pass
        if end:
            return Span(at + end, window[:end])
        return self._damage(at, sealed) if sealed or dead else None

    def tail(self, at: int) -> int:
        """Return where the frames that follow *at* end, without looking into them."""
        while block := os.pread(self._file, CHUNK_BYTES, at):
            offset = 0
            while offset + journal.FRAME.size <= len(block):
                length, _ = journal.FRAME.unpack_from(block, offset)
                if not 0 < length <= journal.MAX_PAYLOAD_BYTES:
                    return at + offset
                offset += journal.frame_bytes(length)
            at += offset
        return at

    def record(self, at: int) -> journal.Record | None:
        """Return the record at *at*, None where no sound one stands."""
        for _, payload in journal.read_frames(os.pread(self._file, _LOOK_AHEAD, at)):
            try:
                return journal.read_record(payload)
            except journal.JournalError:
                return None
        return None

    def is_blank(self, at: int) -> bool:
        """Say whether nothing stands at *at* yet."""
        return os.pread(self._file, len(_NOTHING), at) in (_NOTHING, b"")

    def sync(self) -> None:
        """Force what was written to the disk, also what the writer stored through its mapping."""
        os.fdatasync(self._file)

    def _header(self) -> journal.SegmentHeader:
        return journal.read_header(os.pread(self._file, journal.HEADER_BYTES, 0))

    def _damage(self, at: int, sealed: int) -> Span | None:
        """Return what stands at *at* in place of a frame, None when it is the end."""
        end = self._next_sound(at, sealed or self._size) or sealed
        if end <= at:
            rest = os.pread(self._file, CHUNK_BYTES, at)
            if rest[: len(_NOTHING)] in (_NOTHING, b"") or sealed:
                return None
            length = len(rest.rstrip(b"\0"))
            end = at + length + -length % 8
        end = min(end, at + CHUNK_BYTES)
        data = os.pread(self._file, end - at, at)
        return Span(end, data, "no sound record stands here")

    def _next_sound(self, at: int, limit: int) -> int:
        """Return where the next sound record after *at* begins, 0 when there is none."""
        for start in range(at, limit, CHUNK_BYTES):
            window = os.pread(self._file, CHUNK_BYTES + _LOOK_AHEAD, start)
            if window.count(0) == len(window):
                continue
            for offset in range(0, min(CHUNK_BYTES, limit - start), 8):
                if window[offset] and _is_sound(window, offset):
                    return start + offset
        return 0


def _is_sound(window: bytes, offset: int) -> bool:
    """Say whether a frame that holds a record begins at *offset*."""
    for _, payload in journal.read_frames(window[offset : offset + _LOOK_AHEAD]):
        try:
            journal.read_record(payload)
        except journal.JournalError:
            return False
        return True
    return False


class WriterJournal:
    """All segments of one gateway worker process, read as one sequence."""

    def __init__(self, directory: Path, node: str) -> None:
        self.directory = directory
        self.dead = False
        self._node = node
        self._lock: int | None = None
        self._current: tuple[int, Segment] | None = None
        self._writer: str | None = None

    @property
    def writer(self) -> str:
        """The writer's name; *node* stands in where no header can be read."""
        if self._writer is None:
            named = next(filter(None, map(self._named, self.segments())), None)
            name = f"{named or self._node}-{self.directory.name}"
            if named is None:
                return name
            self._writer = name
        return self._writer

    def segments(self) -> list[int]:
        """Return the numbers of the segments that exist, in order."""
        return sorted(
            int(path.stem) for path in self.directory.glob("*.seg") if path.stem.isdecimal()
        )

    def path(self, number: int) -> Path:
        """Return the file of segment *number*."""
        return self.directory / f"{number:06d}.seg"

    def check_dead(self) -> bool:
        """Say whether the writer is gone: only then can its lock be had, and it is kept.

        A writer takes the lock before it makes a segment, so where there is none the lock is left
        alone: having it for a moment would be taking it away from a process that just starts.
        """
        if self.dead:
            return True
        if self._lock is None and not self.segments():
            return False
        self.dead = self._take_lock()
        return self.dead

    def check_unused(self) -> bool:
        """Say whether the writer died before it made a segment; its lock, if any, is kept.

        To be asked only of a directory too old to belong to a process that just starts.
        """
        if self.segments():
            return False
        return not (self.directory / "lock").exists() or self._take_lock()

    def _take_lock(self) -> bool:
        try:
            if self._lock is None:
                self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, FileNotFoundError):
            return False
        return True

    def read(self, after: Position) -> Chunk | None:
        """Return the chunk that follows *after*, None when nothing does (yet)."""
        dead = self.dead
        number, offset = after if after != START else (1, journal.HEADER_BYTES)
        while (segment := self._segment(number)) is not None:
            span = segment.read(offset, dead=dead)
            if span is not None:
                end = Position(number, span.end)
                return Chunk(self.writer, after, end, span.data, span.damage)
            sealed = segment.sealed()
            if not (dead or sealed):
                return None
            if dead or offset >= sealed:
                number, offset = number + 1, journal.HEADER_BYTES
        later = [existing for existing in self.segments() if existing > number]
        return self._missing(after, later[0]) if later else None

    def close(self) -> None:
        """Let go of the files; what is known of the writer stays."""
        if self._current is not None:
            self._current[1].close()
            self._current = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _missing(self, after: Position, number: int) -> Chunk:
        end = Position(number, journal.HEADER_BYTES)
        return Chunk(self.writer, after, end, damage=f"no segment before {number} is left")

    def _named(self, number: int) -> str | None:
        segment = self._segment(number)
        return segment.node() if segment else None

    def _segment(self, number: int) -> Segment | None:
        """Return segment *number*, kept open until another one is asked for."""
        if self._current is None or self._current[0] != number:
            try:
                segment = Segment(self.path(number))
            except FileNotFoundError:
                return None
            if self._current is not None:
                self._current[1].close()
            self._current = (number, segment)
        return self._current[1]
