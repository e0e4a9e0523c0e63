"""The journal's reader: torn bytes are the end, damaged ones are reported, the rest is read."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.contract import journal
from control_plane.contract.usage_stream import CHUNK_BYTES, START, Chunk, Position
from control_plane.shipper.reader import WriterJournal
from tests.journal_writer import JournalWriter, begin, end, frame

RECORD_BYTES = len(frame(begin(1)))


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[JournalWriter]:
    made = JournalWriter(tmp_path)
    yield made
    made.die()


def read_all(reader: WriterJournal, after: Position = START) -> list[Chunk]:
    """Return everything that can be read now."""
    chunks = []
    while chunk := reader.read(after):
        assert chunk.start == after
        assert chunk.end > after
        assert len(chunk.data) <= CHUNK_BYTES
        chunks.append(chunk)
        after = chunk.end
    return chunks


def seqs(chunks: list[Chunk]) -> list[tuple[int, int]]:
    """Return (seq, kind) of each record in *chunks*."""
    sound = [chunk for chunk in chunks if not chunk.damage]
    payloads = [payload for chunk in sound for _, payload in journal.read_frames(chunk.data)]
    records = [journal.read_record(payload) for payload in payloads]
    return [(record.seq, record.kind) for record in records]


def reader_of(writer: JournalWriter) -> WriterJournal:
    return WriterJournal(writer.directory, "other")


def test_an_empty_journal_has_nothing(writer: JournalWriter) -> None:
    assert reader_of(writer).read(START) is None


def test_records_are_read_while_they_are_written(writer: JournalWriter) -> None:
    reader = reader_of(writer)
    writer.call(1)
    (first,) = read_all(reader)
    writer.call(2)
    (second,) = read_all(reader, first.end)
    assert first.writer == writer.writer
    assert seqs([first, second]) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_a_chunk_is_bounded_and_ends_between_records(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, size=1024 * 1024)
    count = CHUNK_BYTES // RECORD_BYTES + 50
    for seq in range(1, count + 1):
        writer.append(begin(seq))
    chunks = read_all(reader_of(writer))
    assert len(chunks) == 2
    assert [seq for seq, _ in seqs(chunks)] == list(range(1, count + 1))


def test_segments_are_one_sequence(writer: JournalWriter) -> None:
    for seq in range(1, 1001):
        writer.call(seq)
    assert writer.number > 3
    chunks = read_all(reader_of(writer))
    assert len(seqs(chunks)) == 2000
    assert not [chunk for chunk in chunks if chunk.damage]


def test_a_live_writer_may_prepare_its_next_segment(writer: JournalWriter) -> None:
    writer.call(1)
    spare = dataclasses.replace(writer._header, segment=2).pack()
    writer.path(2).write_bytes(spare.ljust(64 * 1024, b"\0"))
    reader = reader_of(writer)
    assert seqs(read_all(reader)) == [(1, 1), (1, 2)]
    writer.die()
    assert reader.check_dead()
    assert seqs(read_all(reader)) == [(1, 1), (1, 2)]


def test_a_torn_record_is_the_end(writer: JournalWriter) -> None:
    writer.call(1)
    writer.tear(begin(2))
    reader = reader_of(writer)
    assert seqs(read_all(reader)) == [(1, 1), (1, 2)]
    writer.die()
    assert reader.check_dead()
    chunks = read_all(reader)
    assert seqs(chunks) == [(1, 1), (1, 2)]
    assert not [chunk for chunk in chunks if chunk.damage]


def test_bad_bytes_of_a_live_writer_are_waited_for(writer: JournalWriter) -> None:
    writer.call(1)
    at = writer.at
    writer.append(begin(2))
    sound = writer.path(1).read_bytes()[at : at + 16]
    writer.overwrite(1, at + 8, b"\xff" * 8)
    reader = reader_of(writer)
    (first,) = read_all(reader)
    assert seqs([first]) == [(1, 1), (1, 2)]
    writer.overwrite(1, at, sound)
    assert seqs(read_all(reader, first.end)) == [(2, 1)]


@pytest.mark.parametrize("death", ["sealed", "killed"])
@pytest.mark.parametrize(
    "damage",
    [b"\xff" * 8, b"\0" * 8, b"\x10\0\0\0\xff\xff\xff\xff", b"\xff" * RECORD_BYTES],
    ids=["length", "zeros", "crc", "whole"],
)
def test_damage_is_reported_and_what_follows_is_read(
    writer: JournalWriter, death: str, damage: bytes
) -> None:
    writer.call(1)
    at = writer.at
    writer.call(2)
    writer.overwrite(1, at, damage)
    reader = reader_of(writer)
    if death == "sealed":
        writer.next_segment()
    else:
        writer.die()
        assert reader.check_dead()
    chunks = read_all(reader)
    assert seqs(chunks) == [(1, 1), (1, 2), (2, 2)]
    (damaged,) = [chunk for chunk in chunks if chunk.damage]
    assert (damaged.start, damaged.end) == (Position(1, at), Position(1, at + RECORD_BYTES))
    assert damaged.data[: len(damage)] == damage


def test_damage_at_the_very_end_is_reported(writer: JournalWriter) -> None:
    writer.call(1)
    at = writer.at
    writer.append(begin(2))
    writer.overwrite(1, at + 20, b"\xff")
    writer.die()
    reader = reader_of(writer)
    assert reader.check_dead()
    chunks = read_all(reader)
    assert seqs(chunks) == [(1, 1), (1, 2)]
    assert chunks[-1].damage
    assert chunks[-1].start == Position(1, at)


def test_a_lost_segment_is_reported(writer: JournalWriter) -> None:
    for seq in range(1, 1001):
        writer.call(seq)
    writer.path(2).unlink()
    chunks = read_all(reader_of(writer))
    (gap,) = [chunk for chunk in chunks if chunk.damage]
    assert gap.start.segment == 1
    assert gap.end == Position(3, journal.HEADER_BYTES)
    assert 0 < len(seqs(chunks)) < 2000


def test_the_name_outlives_a_damaged_header(writer: JournalWriter) -> None:
    for seq in range(1, 301):
        writer.call(seq)
    writer.overwrite(1, 0, b"\xff" * journal.HEADER_BYTES)
    reader = reader_of(writer)
    assert reader.writer == writer.writer
    writer.die()
    assert reader.check_dead()
    assert len(seqs(read_all(reader))) == 600


def test_death_is_told_by_the_lock(writer: JournalWriter) -> None:
    reader = reader_of(writer)
    assert not reader.check_dead()
    writer.die()
    assert reader.check_dead()


def test_the_lock_of_a_writer_that_just_starts_is_left_alone(tmp_path: Path) -> None:
    directory = tmp_path / "1-1"
    directory.mkdir()
    (directory / "lock").touch()
    assert not WriterJournal(directory, "node").check_dead()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_only_damaged_records_are_missing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any bytes anywhere in a dead writer's frames cost the records they hit and no others."""
    writer = JournalWriter(tmp_path_factory.mktemp("j"), size=8192)
    for seq in range(1, 41):
        writer.append(begin(seq))
        writer.append(end(begin(seq)))
    writer.die()
    reader = reader_of(writer)
    assert reader.check_dead()
    records = frames_of(writer)
    hits = data.draw(st.lists(st.sampled_from(records), min_size=1, max_size=5, unique=True))
    for number, at, length, _ in hits:
        within = data.draw(st.integers(0, length - 1))
        byte = writer.path(number).read_bytes()[at + within]
        writer.overwrite(number, at + within, bytes((byte ^ 0x5A,)))
    chunks = read_all(reader)
    assert set(seqs(chunks)) == {record for *_, record in records} - {hit for *_, hit in hits}
    assert [chunk for chunk in chunks if chunk.damage]


Frame = tuple[int, int, int, tuple[int, int]]


def frames_of(writer: JournalWriter) -> list[Frame]:
    """Return segment, offset, length (without padding) and (seq, kind) of each record."""
    frames: list[Frame] = []
    for number in range(1, writer.number + 1):
        at = journal.HEADER_BYTES
        for after, payload in journal.read_frames(writer.path(number).read_bytes(), at):
            record = journal.read_record(payload)
            length = journal.FRAME.size + len(payload)
            frames.append((number, at, length, (record.seq, record.kind)))
            at = after
    return frames
