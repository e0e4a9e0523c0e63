"""The journal's bytes: what a gateway worker writes for each call and the shipper reads.

A segment is a preallocated file that one worker maps shared. It starts with a header of
`HEADER_BYTES`; then frames follow, each `u32 payload length, u32 CRC-32 of the payload, payload`,
padded to 8 bytes. The payload is stored first and the two words last as one 64-bit store: a frame
that a killed worker left unfinished reads as the end. Everything is little endian.

A call has two records of one layout: B (begin) before the upstream is reached, E (end) in the log
phase. Both carry the whole identity of the call, so that either is understood alone.
"""

import struct
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"YUMENJ01"
HEADER_BYTES = 256
FRAME = struct.Struct("<II")
MAX_PAYLOAD_BYTES = 2048

# Name, C type, struct code. The order is the layout; every field is naturally aligned.
HEADER_FIELDS = (
    ("magic", "char", "8s", 8),
    ("started_us", "uint64_t", "Q", 0),
    ("size", "uint64_t", "Q", 0),
    ("sealed", "uint64_t", "Q", 0),
    ("pid", "uint32_t", "I", 0),
    ("segment", "uint32_t", "I", 0),
    ("node", "char", "32s", 32),
)

RECORD_FIELDS = (
    ("seq", "uint64_t", "Q", 0),
    ("started_us", "uint64_t", "Q", 0),
    ("duration_us", "uint64_t", "Q", 0),
    ("request_bytes", "uint64_t", "Q", 0),
    ("response_bytes", "uint64_t", "Q", 0),
    ("first_byte_us", "uint32_t", "I", 0),
    ("events", "uint32_t", "I", 0),
    ("tokens_in", "uint32_t", "I", 0),
    ("tokens_out", "uint32_t", "I", 0),
    ("tokens_cached", "uint32_t", "I", 0),
    ("tokens_reasoning", "uint32_t", "I", 0),
    ("status", "uint16_t", "H", 0),
    ("upstream_status", "uint16_t", "H", 0),
    ("kind", "uint8_t", "B", 0),
    ("outcome", "uint8_t", "B", 0),
    ("usage_source", "uint8_t", "B", 0),
    ("flags", "uint8_t", "B", 0),
    ("tenant", "uint8_t", "16s", 16),
    ("key", "uint8_t", "16s", 16),
    ("model", "uint8_t", "16s", 16),
)

# After the fixed part: u8 length and the bytes of each, UTF-8, in this order.
RECORD_STRINGS = ("endpoint", "request_id", "cost_per_call", "cost_multiplier", "user_id")


def _layout(fields: tuple[tuple[str, str, str, int], ...]) -> struct.Struct:
    return struct.Struct("<" + "".join(code for _, _, code, _ in fields))


HEADER = _layout(HEADER_FIELDS)
RECORD = _layout(RECORD_FIELDS)


class Kind(IntEnum):
    """Which of a call's two records this is."""

    BEGIN = 1
    END = 2


class Outcome(IntEnum):
    """How a call ended. ORPHAN is decided by the consumer only and never stands in a journal."""

    NONE = 0
    COMPLETE = 1
    ABORTED = 2
    FAILED = 3
    ORPHAN = 4


class UsageSource(IntEnum):
    """Where the token counts come from."""

    UNKNOWN = 0
    PROVIDER = 1


FLAG_STREAM = 1


class JournalError(ValueError):
    """Bytes that are not a journal: what is wrong stands in the message."""


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """Who wrote a segment. `sealed` is the end offset once the worker moved on, else 0."""

    node: str
    started_us: int
    pid: int
    segment: int
    size: int
    sealed: int = 0

    @property
    def writer(self) -> str:
        """The worker process, unique for ever: node, start in microseconds, process id."""
        return f"{self.node}-{self.started_us}-{self.pid}"

    def pack(self) -> bytes:
        """Return the header as it stands in the file, `HEADER_BYTES` long."""
        packed = HEADER.pack(
            MAGIC,
            self.started_us,
            self.size,
            self.sealed,
            self.pid,
            self.segment,
            self.node.encode(),
        )
        return packed.ljust(HEADER_BYTES, b"\0")


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a call. Times in microseconds, sizes in bytes, ids as UUIDs."""

    seq: int
    started_us: int
    kind: Kind
    tenant: uuid.UUID
    key: uuid.UUID
    model: uuid.UUID
    endpoint: str
    request_id: str
    cost_per_call: str
    cost_multiplier: str
    user_id: str = ""
    duration_us: int = 0
    first_byte_us: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    events: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    tokens_reasoning: int = 0
    status: int = 0
    upstream_status: int = 0
    outcome: Outcome = Outcome.NONE
    usage_source: UsageSource = UsageSource.UNKNOWN
    flags: int = 0

    def pack(self) -> bytes:
        """Return the payload of this record's frame."""
        fixed = []
        for name, _, _, size in RECORD_FIELDS:
            value = getattr(self, name)
            fixed.append(value.bytes if size else value)
        packed = [RECORD.pack(*fixed)]
        for name in RECORD_STRINGS:
            text = getattr(self, name).encode()
            packed.append(bytes((len(text),)) + text)
        return b"".join(packed)


def read_header(data: bytes) -> SegmentHeader:
    """Read a segment's header from its first bytes.

    Raises:
        JournalError: too short, or not a journal of this version.
    """
    if len(data) < HEADER.size:
        raise JournalError("segment shorter than its header")
    magic, started_us, size, sealed, pid, segment, node = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise JournalError(f"not a journal segment of version {MAGIC!r}")
    name = node.rstrip(b"\0").decode("ascii", "replace")
    return SegmentHeader(name, started_us, pid, segment, size, sealed)


def read_record(payload: bytes) -> Record:
    """Read one record from its frame's payload.

    Raises:
        JournalError: the payload does not have the layout of a record.
    """
    try:
        values = dict(zip((f[0] for f in RECORD_FIELDS), RECORD.unpack_from(payload), strict=True))
        at = RECORD.size
        for name in RECORD_STRINGS:
            end = at + 1 + payload[at]
            if end > len(payload):
                raise JournalError(f"{name} runs past the record")
            values[name] = payload[at + 1 : end].decode()
            at = end
        for name in ("tenant", "key", "model"):
            values[name] = uuid.UUID(bytes=values[name])
        values["kind"] = Kind(values["kind"])
        values["outcome"] = Outcome(values["outcome"])
        values["usage_source"] = UsageSource(values["usage_source"])
    except (struct.error, IndexError, ValueError) as error:
        raise JournalError(f"not a record: {error}") from error
    return Record(**values)


def frame(payload: bytes) -> bytes:
    """Return *payload* as a frame: length, CRC, payload, padding."""
    head = FRAME.pack(len(payload), zlib.crc32(payload))
    return head + payload + b"\0" * (-len(payload) % 8)


def frame_bytes(length: int) -> int:
    """Return the whole size of a frame whose payload has *length* bytes."""
    return FRAME.size + length + (-length % 8)


def read_frames(data: bytes, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (offset after the frame, payload) for each whole and sound frame of *data* from *at*.

    Stops at the end word, at a frame that is cut off and at one whose CRC does not match; the
    caller knows where by the last offset it got.
    """
    while at + FRAME.size <= len(data):
        length, crc = FRAME.unpack_from(data, at)
        end = at + frame_bytes(length)
        if not 0 < length <= MAX_PAYLOAD_BYTES or end > len(data):
            return
        payload = data[at + FRAME.size : at + FRAME.size + length]
        if zlib.crc32(payload) != crc:
            return
        yield end, payload
        at = end
