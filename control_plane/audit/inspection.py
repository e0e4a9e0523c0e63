"""Reads a chain once, from its beginning, and names what somebody did to it."""

import dataclasses
import enum
from collections.abc import Callable, Iterable, Iterator

from control_plane.audit.chain import Link
from control_plane.audit.models import AuditLog


class Kind(enum.StrEnum):
    """What was done to a chain."""

    EDITED = "edited"
    MISSING = "missing"
    INSERTED = "inserted"
    MOVED = "moved"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"


@dataclasses.dataclass(frozen=True)
class Fault:
    """What was done to the rows from `first` to `last` of a chain."""

    chain: str
    kind: Kind
    first: int
    last: int

    def __str__(self) -> str:
        rows = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.chain} {rows} {self.kind.value}"


@dataclasses.dataclass
class _Stretch:
    """Rows in a row that hang on each other, the first of them on one that is not found yet."""

    prev: str
    first: int
    last: int
    hash: str


class Inspection:
    """One reading of one chain.

    A row that hangs on the row before it is in its place. Of a row that hangs on none that was read
    yet, the reason shows later: two rows, or two stretches, that were swapped hang on each other
    crosswise; an inserted one is passed by. Rows are not kept, only where stretches begin and end.
    """

    def __init__(self, chain: str, start: Link, is_whole: Callable[[AuditLog], bool]) -> None:
        self._chain = chain
        self._is_whole = is_whole
        self._good = start
        """The last row in its place."""
        self._seq = start.seq
        """The last number seen."""
        self._waiting: list[_Stretch] = []
        self._forged: int | None = None
        """The last row seen, if it was not written by us as it is."""

    def faults(self, rows: Iterable[AuditLog], anchor: Link | None) -> Iterator[Fault]:
        """Yield what is wrong with *rows*, which come by their numbers, and with their end.

        *anchor* is a row that the chain is known to have had.
        """
        found_anchor = anchor is None or anchor.seq <= self._seq
        for row in rows:
            yield from self._read(row)
            if anchor is not None and row.seq == anchor.seq:
                found_anchor = True
                if row.hash != anchor.hash and self._is_whole(row):
                    yield self._fault(Kind.REWRITTEN, row.seq, row.seq)
        yield from self._end(anchor)
        if anchor is not None and not found_anchor and self._seq < anchor.seq:
            yield self._fault(Kind.TRUNCATED, self._seq + 1, anchor.seq)

    def _read(self, row: AuditLog) -> Iterator[Fault]:
        gap = row.seq > self._seq + 1
        before, self._seq = self._seq, row.seq
        if not self._is_whole(row):
            if gap:
                yield self._fault(Kind.MISSING, before + 1, row.seq - 1)
            yield from self._settle_forged()
            self._forged = row.seq
            return
        if row.prev == self._good.hash:
            yield from self._linked(row, gap_after=before if gap else None)
        elif self._waiting and row.prev == self._waiting[-1].hash and not gap:
            self._waiting[-1].last, self._waiting[-1].hash = row.seq, row.hash
        elif gap or self._forged is not None:
            # What it hung on is gone or was forged: it stands in its place for all that is known.
            if gap:
                yield self._fault(Kind.MISSING, before + 1, row.seq - 1)
            yield from self._settle_forged()
            yield from self._settle_waiting()
            self._good = Link(row.seq, row.hash)
        else:
            self._waiting.append(_Stretch(row.prev, row.seq, row.seq, row.hash))

    def _linked(self, row: AuditLog, gap_after: int | None) -> Iterator[Fault]:
        """Take in a row that hangs on the last one in its place."""
        if self._forged is not None:
            # It hangs on the row before the forged one, which so was never a part of the chain.
            yield self._fault(Kind.INSERTED, self._forged, self._forged)
            self._forged = None
        elif gap_after is not None and not self._waiting:
            # Nothing is gone: it was given a higher number.
            yield self._fault(Kind.MOVED, row.seq, row.seq)
        true, waiting = Link(self._good.seq + 1, row.hash), self._waiting
        following = next((each for each in waiting if each.prev == row.hash), None)
        if not waiting:
            self._good = Link(row.seq, row.hash)
        elif following is None:
            for each in waiting:
                yield self._fault(Kind.INSERTED, each.first, each.last)
            self._good, self._waiting = Link(row.seq, row.hash), []
        else:
            yield self._fault(Kind.MOVED, row.seq, row.seq)
            yield from self._follow(true)

    def _follow(self, end: Link) -> Iterator[Fault]:
        """Take in the stretches that hang on *end*, one after the other."""
        while True:
            stretch = next((each for each in self._waiting if each.prev == end.hash), None)
            if stretch is None:
                break
            self._waiting.remove(stretch)
            if stretch.first != end.seq + 1:
                yield self._fault(Kind.MOVED, stretch.first, stretch.last)
            end = Link(end.seq + 1 + stretch.last - stretch.first, stretch.hash)
        self._good = end

    def _settle_forged(self) -> Iterator[Fault]:
        if self._forged is not None:
            yield self._fault(Kind.EDITED, self._forged, self._forged)
            self._forged = None

    def _settle_waiting(self) -> Iterator[Fault]:
        """Give up finding what stretches hang on: it is gone."""
        for each in self._waiting:
            yield self._fault(Kind.MISSING, each.first, each.first)
        self._waiting = []

    def _end(self, anchor: Link | None) -> Iterator[Fault]:
        if self._forged is not None and (anchor is None or self._forged > anchor.seq):
            # Nobody ever vouched for it; whether a row of ours stood there cannot be told.
            yield self._fault(Kind.INSERTED, self._forged, self._forged)
            self._forged = None
        yield from self._settle_forged()
        yield from self._settle_waiting()

    def _fault(self, kind: Kind, first: int, last: int) -> Fault:
        return Fault(self._chain, kind, first, last)
