"""The journal's bytes: what is written is read back, and damage is seen."""

import subprocess
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.contract import export, journal
from control_plane.contract.journal import Kind, Outcome, Record, SegmentHeader, UsageSource

U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
TEXT = st.text(max_size=60)

records = st.builds(
    Record,
    seq=U64,
    started_us=U64,
    kind=st.sampled_from(Kind),
    tenant=st.uuids(),
    key=st.uuids(),
    model=st.uuids(),
    endpoint=TEXT,
    request_id=TEXT,
    cost_per_call=TEXT,
    cost_multiplier=TEXT,
    user_id=TEXT,
    duration_us=U64,
    tokens_in=U32,
    status=U16,
    outcome=st.sampled_from(Outcome),
    usage_source=st.sampled_from(UsageSource),
)


@given(st.lists(records, max_size=4))
def test_records_come_back_as_written(written: list[Record]) -> None:
    data = b"".join(journal.frame(record.pack()) for record in written) + b"\0" * 16
    assert [journal.read_record(payload) for _, payload in journal.read_frames(data)] == written


@given(records, st.data())
def test_a_changed_byte_ends_the_journal_before_it(record: Record, data: st.DataObject) -> None:
    first = journal.frame(b"sound")
    frame = bytearray(journal.frame(record.pack()))
    used = journal.FRAME.size + len(record.pack())
    at = data.draw(st.integers(0, used - 1))
    frame[at] ^= data.draw(st.integers(1, 255))
    assert [payload for _, payload in journal.read_frames(first + bytes(frame))] == [b"sound"]


@given(records, st.data())
def test_a_cut_frame_reads_as_the_end(record: Record, data: st.DataObject) -> None:
    frame = journal.frame(record.pack())
    cut = data.draw(st.integers(0, len(frame) - 1))
    assert list(journal.read_frames(frame[:cut])) == []


@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(journal.JournalError):
        journal.read_header(data)


def test_a_record_that_runs_past_its_end_is_refused() -> None:
    nobody = uuid.UUID(int=0)
    packed = Record(1, 1, Kind.BEGIN, nobody, nobody, nobody, "/v1", "r", "1", "1").pack()
    with pytest.raises(journal.JournalError, match="user_id"):
        journal.read_record(packed[:-1] + b"\xff")


def test_the_header_names_its_writer() -> None:
    header = SegmentHeader("node-1", 1700000000000000, 4711, 3, 1 << 24)
    data = header.pack()
    assert len(data) == journal.HEADER_BYTES
    assert journal.read_header(data) == header
    assert header.writer == "node-1-1700000000000000-4711"


def test_lua_lays_the_structs_out_as_python_does() -> None:
    script = """
    local layout = dofile("openresty/contract/journal.lua")
    local ffi = require("ffi")
    ffi.cdef(layout.cdef)
    io.write(ffi.sizeof("yumen_segment_header"), " ", ffi.sizeof("yumen_record"), " ",
             ffi.offsetof("yumen_record", "model"), " ", ffi.offsetof("yumen_record", "status"))
    """
    printed = subprocess.run(
        ["luajit", "-e", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=export.TARGET.parents[1],
    ).stdout
    model = journal.RECORD.size - 16
    status = journal.RECORD.size - 3 * 16 - 4 - 4
    assert printed == f"{journal.HEADER.size} {journal.RECORD.size} {model} {status}"
