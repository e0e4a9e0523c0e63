"""Writes journals as a gateway worker does: lock, preallocated segments, payload before word."""

import fcntl
import os
import uuid
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from control_plane.contract import journal
from control_plane.contract.journal import Kind, Outcome, Record, SegmentHeader, UsageSource

STARTED_US = 1_795_000_000_000_000
TENANT = uuid.UUID("00000000-0000-7000-8000-0000000000aa")
KEY = uuid.UUID("00000000-0000-7000-8000-0000000000bb")
MODEL = uuid.UUID("00000000-0000-7000-8000-0000000000cc")


def begin(seq: int, **fields: Any) -> Record:
    """Return the B record of call number *seq*."""
    values = {
        "seq": seq,
        "started_us": STARTED_US + seq * 1000,
        "kind": Kind.BEGIN,
        "tenant": TENANT,
        "key": KEY,
        "model": MODEL,
        "endpoint": "/v1/chat/completions",
        "request_id": f"request-{seq}",
        "cost_per_call": "0.015",
        "cost_multiplier": "1.5",
        "request_bytes": 100,
    }
    return Record(**values | fields)


def end(begun: Record, outcome: Outcome = Outcome.COMPLETE, **fields: Any) -> Record:
    """Return the E record of a call that began with *begun*."""
    values = {
        "kind": Kind.END,
        "outcome": outcome,
        "duration_us": 2500,
        "response_bytes": 300,
        "status": 200,
        "upstream_status": 200,
        "tokens_in": 7,
        "tokens_out": 11,
        "usage_source": UsageSource.PROVIDER,
    }
    return replace(begun, **values | fields)


def frame(record: Record) -> bytes:
    """Return the frame of a record."""
    return journal.frame(record.pack())


class JournalWriter:
    """The journal of one worker process; it lives until `die`."""

    def __init__(
        self,
        folder: Path,
        *,
        node: str = "node-a",
        started_us: int = STARTED_US,
        pid: int = 1,
        size: int = 64 * 1024,
    ) -> None:
        self.directory = folder / f"{started_us}-{pid}"
        self.writer = f"{node}-{started_us}-{pid}"
        self.number = 0
        self.at = 0
        self._header = SegmentHeader(node, started_us, pid, 0, size)
        self.directory.mkdir(parents=True)
        self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.next_segment()

    def path(self, number: int) -> Path:
        """Return the file of a segment."""
        return self.directory / f"{number:06d}.seg"

    def next_segment(self) -> None:
        """Go on in a new segment and seal the former."""
        header = replace(self._header, segment=self.number + 1)
        data = bytearray(header.size)
        data[: journal.HEADER_BYTES] = header.pack()
        self.path(self.number + 1).write_bytes(data)
        if self.number:
            sealed = replace(self._header, segment=self.number, sealed=self.at)
            self._write(self.number, 0, sealed.pack())
        self.number += 1
        self.at = journal.HEADER_BYTES

    def append(self, record: Record) -> None:
        """Write one record, in the next segment when this one is full."""
        payload = record.pack()
        if self.at + journal.frame_bytes(len(payload)) > self._header.size:
            self.next_segment()
        self._write(self.number, self.at + journal.FRAME.size, payload)
        word = journal.FRAME.pack(len(payload), zlib.crc32(payload))
        self._write(self.number, self.at, word)
        self.at += journal.frame_bytes(len(payload))

    def fill(self, frames: bytes) -> None:
        """Write many whole frames at once; they must fit in the segment."""
        self._write(self.number, self.at, frames)
        self.at += len(frames)

    def call(self, seq: int, outcome: Outcome = Outcome.COMPLETE, **fields: Any) -> None:
        """Write both records of one call."""
        begun = begin(seq, **fields)
        self.append(begun)
        self.append(end(begun, outcome))

    def tear(self, record: Record) -> None:
        """Write what a worker leaves that is killed between a record's payload and its word."""
        self._write(self.number, self.at + journal.FRAME.size, record.pack())

    def overwrite(self, number: int, at: int, data: bytes) -> None:
        """Damage a segment."""
        self._write(number, at, data)

    def die(self) -> None:
        """Let the kernel take the lock back, as it does when the process is gone."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _write(self, number: int, at: int, data: bytes) -> None:
        with self.path(number).open("r+b") as file:
            file.seek(at)
            file.write(data)
