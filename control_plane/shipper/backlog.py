"""Measures what the database has not confirmed yet, and says so in a file for the metrics."""

import json
from pathlib import Path

from control_plane.contract import journal
from control_plane.contract.usage_stream import START, Position
from control_plane.core import clock
from control_plane.shipper.reader import Segment
from control_plane.shipper.shipping import Shipment, Shipping

_US = 1e6

Place = tuple[Path, int]
"""A journal's folder and the number of a segment in it."""


class Backlog:
    """How much of this node's journals is on its way, and since when.

    Where a segment ends is remembered, so that what stands in it is read once.
    """

    def __init__(self, shipping: Shipping, file: Path) -> None:
        self._shipping = shipping
        self._file = file
        self._ends: dict[Place, int] = {}
        self._sealed: set[Place] = set()

    def tell(self) -> None:
        """Write `{bytes, oldest, at}`: Unix seconds, `oldest` null when nothing waits.

        Raises:
            OSError: the file cannot be written.
        """
        size, oldest, seen = 0, None, set[Place]()
        for shipment in list(self._shipping.shipments.values()):
            if shipment.ended:
                continue
            waiting, since = self._of(shipment, seen)
            size += waiting
            if since is not None:
                oldest = since if oldest is None else min(oldest, since)
        self._ends = {place: end for place, end in self._ends.items() if place in seen}
        self._sealed &= seen
        told = {"bytes": size, "oldest": oldest, "at": clock.now().timestamp()}
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(told), encoding="ascii")
        new.replace(self._file)

    def _of(self, shipment: Shipment, seen: set[Place]) -> tuple[int, float | None]:
        """Return the bytes of a journal that are not confirmed, and when the first was written."""
        written = shipment.journal
        confirmed = shipment.confirmed or START
        first = confirmed if confirmed != START else Position(1, journal.HEADER_BYTES)
        size, oldest = 0, None
        for number in written.segments():
            if number < first.segment:
                continue
            start = first.offset if number == first.segment else journal.HEADER_BYTES
            place = (written.directory, number)
            seen.add(place)
            try:
                waiting, record = self._look(written.path(number), place, start)
            except FileNotFoundError:
                continue  # it was confirmed and deleted meanwhile
            size += waiting
            if oldest is None and record is not None:
                oldest = (record.started_us + record.duration_us) / _US
        return size, oldest

    def _look(self, path: Path, place: Place, start: int) -> tuple[int, journal.Record | None]:
        """Return the bytes of a segment from *start* on, and its first record from there."""
        if place in self._sealed and self._ends[place] <= start:
            return 0, None
        segment = Segment(path)
        try:
            if place not in self._sealed:
                sealed = segment.sealed()
                known = max(start, self._ends.get(place, 0))
                self._ends[place] = sealed or segment.tail(known)
                if sealed:
                    self._sealed.add(place)
            waiting = max(0, self._ends[place] - start)
            return waiting, segment.record(start) if waiting else None
        finally:
            segment.close()
