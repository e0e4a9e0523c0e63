"""Forces journals to the disk, so that a crash of the machine loses a moment and no more.

Only segments that grew are synced: an untouched file costs one small read. This runs on a thread
of its own, because neither a slow disk nor an absent Redis may hold up the other.
"""

from collections.abc import Callable
from pathlib import Path

from control_plane.contract.journal import HEADER_BYTES
from control_plane.shipper.reader import Segment


class Tail:
    """The end of one writer's journal as far as it is on the disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0
        self._segment: Segment | None = None
        self._at = 0

    def sync(self) -> bool:
        """Sync what was added since the last time; say whether anything was."""
        changed = False
        while self._segment is not None or self._open_next():
            segment = self._segment
            if segment is None:
                break
            sealed = segment.sealed()
            if not segment.is_blank(self._at):
                changed = True
                self._at = segment.tail(self._at)
                segment.sync()
            if not sealed or not self._open_next():
                break
        return changed

    def close(self) -> None:
        """Let go of the file."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _open_next(self) -> bool:
        numbers = [int(path.stem) for path in self._directory.glob("*.seg")]
        later = sorted(number for number in numbers if number > self._number)
        if not later:
            return False
        self.close()
        self._number, self._at = later[0], HEADER_BYTES
        self._segment = Segment(self._directory / f"{self._number:06d}.seg")
        return True


class Syncer:
    """The tails of all journals that are not yet known to be in the database."""

    def __init__(self, directory: Path, is_ended: Callable[[str], bool]) -> None:
        self._directory = directory
        self._is_ended = is_ended
        self._tails: dict[str, Tail] = {}

    def sync(self) -> int:
        """Sync every journal that grew; return how many did."""
        found = {path.name for path in self._directory.glob("*-*") if not self._is_ended(path.name)}
        for name in self._tails.keys() - found:
            self._tails.pop(name).close()
        for name in found - self._tails.keys():
            self._tails[name] = Tail(self._directory / name)
        return sum(tail.sync() for tail in self._tails.values())
