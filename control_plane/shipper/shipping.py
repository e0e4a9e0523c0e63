"""Sends journals to the usage stream until the database has confirmed them.

Sent is not done. The consumer states in `usage:confirmed` how far the database holds each writer's
journal; what lies between that and what was sent is in flight, and is sent again when it is gone
from the stream and still unconfirmed. Nothing is remembered across restarts: the journal and the
confirmation are all the state there is.
"""

import re
from collections import deque
from pathlib import Path

import redis
import structlog

from control_plane.contract import keys
from control_plane.contract.usage_stream import (
    CONFIRMED_ENDED,
    CONFIRMED_RUN,
    START,
    Chunk,
    Position,
)
from control_plane.core import clock
from control_plane.shipper.reader import WriterJournal

_WINDOW = 32
"""Chunks of one writer that may be in flight: what the consumer lags behind waits on disk."""

_BATCH = 32
"""Chunks that are sent with one trip to Redis, so at most 8 MB in memory."""

_DIRECTORY = re.compile(r"[0-9]+-[0-9]+")

log = structlog.get_logger(__name__)


class Shipment:
    """How far one writer's journal has come."""

    def __init__(self, journal: WriterJournal) -> None:
        self.journal = journal
        self.confirmed: Position | None = None
        self.ended = False
        self._sent = START
        self._in_flight: deque[tuple[bytes, Chunk]] = deque()
        self._moved_at = clock.monotonic()

    @property
    def oldest(self) -> bytes | None:
        """The stream id of the oldest chunk in flight."""
        return self._in_flight[0][0] if self._in_flight else None

    def next_chunk(self) -> Chunk | None:
        """Return what to send next, ending with the end mark of a dead writer."""
        if self.confirmed is None or self.ended or len(self._in_flight) >= _WINDOW:
            return None
        if self._in_flight and self._in_flight[-1][1].last:
            return None
        chunk = self.journal.read(self._sent)
        if chunk is None and self.journal.dead:
            return Chunk(self.journal.writer, self._sent, self._sent, last=True)
        return chunk

    def sent(self, chunk: Chunk, entry: bytes) -> None:
        """Note that *chunk* stands in the stream as *entry*."""
        if not self._in_flight:
            self._moved_at = clock.monotonic()
        self._in_flight.append(
            (entry, Chunk(chunk.writer, chunk.start, chunk.end, last=chunk.last))
        )
        self._sent = chunk.end

    def confirm(self, value: bytes | None) -> None:
        """Take in what the database holds; less than before means that it was restored."""
        if value == CONFIRMED_ENDED.encode():
            self.ended = True
            self._in_flight.clear()
            self.journal.close()
            return
        position = Position.parse(value.decode()) if value else START
        restored = self.ended or (self.confirmed is not None and position < self.confirmed)
        if position != self.confirmed:
            self._moved_at = clock.monotonic()
        self.ended = False
        self.confirmed = position
        if restored:
            self.rewind()
        while self._in_flight and self._is_confirmed(self._in_flight[0][1]):
            self._in_flight.popleft()
        self._sent = max(self._sent, position)

    def rewind(self) -> None:
        """Send again from what is confirmed."""
        self._sent = self.confirmed or START
        self._in_flight.clear()

    def is_stalled(self, seconds: float) -> bool:
        """Say whether chunks are in flight and none was confirmed for *seconds*."""
        return bool(self._in_flight) and clock.monotonic() - self._moved_at > seconds

    def wait_longer(self) -> None:
        """Note that the oldest chunk is still in the stream: the consumer will come to it."""
        self._moved_at = clock.monotonic()

    def _is_confirmed(self, chunk: Chunk) -> bool:
        """Say whether *chunk* has arrived; an end mark has when the writer is `ended`."""
        return not chunk.last and self.confirmed is not None and chunk.end <= self.confirmed


class Shipping:
    """All writers of this node and the stream they go to."""

    def __init__(self, client: redis.Redis, directory: Path, node: str, resend: float) -> None:
        self._redis = client
        self._directory = directory
        self._node = node
        self._resend = resend
        self._run: bytes | None = None
        self.shipments: dict[str, Shipment] = {}

    def discover(self) -> None:
        """Find new writers and those that died or whose journal was deleted."""
        found = {
            path.name for path in self._directory.glob("*-*") if _DIRECTORY.fullmatch(path.name)
        }
        for name in self.shipments.keys() - found:
            self.shipments.pop(name).journal.close()
        for name in found - self.shipments.keys():
            self.shipments[name] = Shipment(WriterJournal(self._directory / name, self._node))
        for shipment in self.shipments.values():
            if not shipment.ended and shipment.journal.check_dead():
                log.debug("journal writer is gone", writer=shipment.journal.writer)

    def confirm(self) -> None:
        """Read what the database holds.

        Until the consumer has written the hash for the Redis that runs now, nothing in it is
        believed: a restarted Redis may have lost its last second, an empty one everything.
        """
        shipments = list(self.shipments.values())
        writers = [shipment.journal.writer for shipment in shipments]
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.info("server")
        pipeline.hmget(keys.USAGE_CONFIRMED, [CONFIRMED_RUN, *writers])
        info, (run, *values) = pipeline.execute()
        if run != info["run_id"].encode():
            self._run = None
            return
        for shipment, value in zip(shipments, values, strict=True):
            shipment.confirm(value)
            if run != self._run:
                shipment.rewind()
        self._run = run
        self._resend_lost()

    def ship(self) -> int:
        """Send what is new; return the bytes sent."""
        batch: list[tuple[Shipment, Chunk]] = []
        for shipment in self.shipments.values():
            chunk = shipment.next_chunk() if len(batch) < _BATCH else None
            if chunk is not None:
                batch.append((shipment, chunk))
        if not batch:
            return 0
        pipeline = self._redis.pipeline(transaction=False)
        for _, chunk in batch:
            pipeline.xadd(keys.USAGE, chunk.fields())
        for (shipment, chunk), entry in zip(batch, pipeline.execute(), strict=True):
            shipment.sent(chunk, entry)
        return sum(len(chunk.data) for _, chunk in batch)

    def lose(self) -> None:
        """Redis failed in the middle of something: believe nothing until it is confirmed."""
        self._run = None

    @property
    def is_trusted(self) -> bool:
        """Whether the hash speaks for the Redis that runs now, so that chunks may be sent."""
        return self._run is not None

    @property
    def is_waiting(self) -> bool:
        """Whether something waits for a confirmation, so that asking again soon is worth it."""
        return any(
            shipment.oldest or shipment.confirmed is None for shipment in self.shipments.values()
        )

    def is_ended(self, directory: str) -> bool:
        """Say whether the database holds everything of the journal in *directory*."""
        shipment = self.shipments.get(directory)
        return shipment is not None and shipment.ended

    def _resend_lost(self) -> None:
        """Send again what is gone from the stream and was not confirmed."""
        for shipment in self.shipments.values():
            entry = shipment.oldest
            if entry is None or not shipment.is_stalled(self._resend):
                continue
            if self._redis.xrange(keys.USAGE, entry, entry, count=1):
                shipment.wait_longer()
            else:
                log.warning("unconfirmed usage is sent again", writer=shipment.journal.writer)
                shipment.rewind()
