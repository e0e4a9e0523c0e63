"""Entries of the usage stream: what a shipper sends of a journal and the consumer takes in.

A journal is one sequence of bytes over all its segments, so a chunk says from which `Position` to
which it reaches, across a segment's end too. Chunks may come twice, out of order and with other
borders: whoever has seen every position up to the end has seen every record.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from control_plane.contract.journal import JournalError

CHUNK_BYTES = 256 * 1024
"""No chunk carries more data than this."""

CONFIRMED_ENDED = "ended"
"""In `usage:confirmed`: the writer is dead and each of its calls is decided."""

CONFIRMED_RUN = "run_id"
"""In `usage:confirmed`: the Redis run for which the hash states what the database holds.

While it does not name the running Redis, the hash is what an earlier one remembered, and a shipper
waits for the consumer to write it anew. No writer has this name.
"""

_WRITER = re.compile(r"[a-z0-9-]{1,32}-[0-9]{1,20}-[0-9]{1,10}")
_POSITION = re.compile(r"([0-9]{1,9}):([0-9]{1,15})")


class Position(NamedTuple):
    """A place in a writer's journal; a tuple, so that places compare."""

    segment: int
    offset: int

    def __str__(self) -> str:
        return f"{self.segment}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the position that `str()` wrote.

        Raises:
            JournalError: the text is not `<segment>:<offset>`.
        """
        found = _POSITION.fullmatch(text)
        if not found:
            raise JournalError(f"not a position: {text[:64]!r}")
        return cls(int(found[1]), int(found[2]))


START = Position(0, 0)
"""Before the first record of a journal."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The journal of *writer* between two positions.

    `data` is whole frames; with `damage`, which says what is wrong, it is the bytes that stand
    where frames should. `last` is the end mark: the writer is dead and nothing follows.
    """

    writer: str
    start: Position
    end: Position
    data: bytes = b""
    damage: str = ""
    last: bool = False

    def fields(self) -> dict[Any, Any]:
        """Return the fields of the stream's entry."""
        entry: dict[Any, Any] = {
            "writer": self.writer,
            "from": str(self.start),
            "to": str(self.end),
            "data": self.data,
        }
        if self.damage:
            entry["damage"] = self.damage
        if self.last:
            entry["last"] = "1"
        return entry


def read_chunk(fields: Mapping[bytes, bytes]) -> Chunk:
    """Read a chunk from its entry's fields.

    Raises:
        JournalError: a field is missing or not what it should be.
    """
    try:
        writer = fields[b"writer"].decode("ascii")
        start = Position.parse(fields[b"from"].decode("ascii"))
        end = Position.parse(fields[b"to"].decode("ascii"))
        damage = fields.get(b"damage", b"").decode("ascii")
        data = fields[b"data"]
    except KeyError as error:
        raise JournalError(f"chunk without {error}") from error
    except UnicodeDecodeError as error:
        raise JournalError(f"chunk is not text: {error}") from error
    if not _WRITER.fullmatch(writer) or start > end:
        raise JournalError(f"chunk of {writer[:80]!r} from {start} to {end}")
    return Chunk(writer, start, end, data, damage, b"last" in fields)
