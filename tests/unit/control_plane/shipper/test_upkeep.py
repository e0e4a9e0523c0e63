"""What the shipper does besides shipping: syncs what grew, deletes what is confirmed and old."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.contract.usage_stream import CONFIRMED_ENDED, Position
from control_plane.shipper.reader import WriterJournal
from control_plane.shipper.retention import delete_old
from control_plane.shipper.shipping import Shipment
from control_plane.shipper.syncing import Syncer
from tests.journal_writer import JournalWriter


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[JournalWriter]:
    made = JournalWriter(tmp_path, size=8192)
    yield made
    made.die()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were forced to disk, which goes on happening."""
    names: list[str] = []
    real = os.fdatasync

    def record(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", record)
    return names


def test_only_what_grew_is_synced(writer: JournalWriter, synced: list[str]) -> None:
    syncer = Syncer(writer.directory.parent, lambda _: False)
    syncer.sync()
    assert synced == []
    writer.call(1)
    assert syncer.sync() == 1
    assert syncer.sync() == 0
    assert synced == ["000001.seg"]
    writer.call(2)
    syncer.sync()
    assert synced == ["000001.seg"] * 2


def test_every_segment_is_synced(writer: JournalWriter, synced: list[str]) -> None:
    syncer = Syncer(writer.directory.parent, lambda _: False)
    for seq in range(1, 101):
        writer.call(seq)
    syncer.sync()
    assert synced == [f"{number:06d}.seg" for number in range(1, writer.number + 1)]
    syncer.sync()
    assert len(synced) == writer.number


def test_ended_journals_are_left_alone(writer: JournalWriter, synced: list[str]) -> None:
    ended: set[str] = set()
    syncer = Syncer(writer.directory.parent, ended.__contains__)
    writer.call(1)
    syncer.sync()
    ended.add(writer.directory.name)
    writer.call(2)
    syncer.sync()
    assert len(synced) == 1


def shipment(writer: JournalWriter, confirmed: str) -> Shipment:
    made = Shipment(WriterJournal(writer.directory, "node"))
    made.confirm(confirmed.encode())
    return made


def age(writer: JournalWriter, hours: float) -> None:
    for path in writer.directory.iterdir():
        moment = path.stat().st_mtime - hours * 3600
        os.utime(path, (moment, moment))


def test_confirmed_segments_go_after_their_time(writer: JournalWriter) -> None:
    for seq in range(1, 101):
        writer.call(seq)
    here = shipment(writer, str(Position(3, 300)))
    assert delete_old([here], hours=2) == 0
    age(writer, 3)
    assert delete_old([here], hours=2) == 2
    assert here.journal.segments() == list(range(3, writer.number + 1))


def test_an_ended_journal_goes_whole(writer: JournalWriter) -> None:
    writer.call(1)
    (writer.directory / "000002.tmp").touch()
    writer.die()
    here = shipment(writer, CONFIRMED_ENDED)
    assert delete_old([here], hours=2) == 0
    age(writer, 3)
    delete_old([here], hours=2)
    assert not writer.directory.exists()


def test_what_nobody_confirmed_stays(writer: JournalWriter) -> None:
    writer.call(1)
    writer.die()
    age(writer, 10_000)
    here = Shipment(WriterJournal(writer.directory, "node"))
    assert delete_old([here], hours=2) == 0
    assert here.journal.segments() == [1]


@pytest.mark.parametrize("left", [(), ("lock",), ("lock", "000001.tmp")])
def test_the_journal_of_a_worker_that_died_at_its_start_goes(
    tmp_path: Path, left: tuple[str, ...]
) -> None:
    directory = tmp_path / "1-1"
    directory.mkdir()
    for name in left:
        (directory / name).touch()
    here = Shipment(WriterJournal(directory, "node"))
    delete_old([here], hours=168)
    assert directory.exists()  # the worker may be just starting
    os.utime(directory, (0, 0))
    delete_old([here], hours=168)
    assert not directory.exists()


def test_the_journal_of_a_worker_that_waits_for_its_first_segment_stays(tmp_path: Path) -> None:
    directory = tmp_path / "1-1"
    directory.mkdir()
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.utime(directory, (0, 0))
        here = Shipment(WriterJournal(directory, "node"))
        delete_old([here], hours=168)
        assert (directory / "lock").exists()
        (directory / "000001.seg").touch()
    os.utime(directory, (0, 0))
    delete_old([here], hours=168)
    assert here.journal.segments() == [1]
