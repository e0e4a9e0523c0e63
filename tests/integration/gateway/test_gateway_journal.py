"""What the journal holds after workers were killed, and when it cannot be written."""

import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from control_plane.contract.journal import (
    HEADER_BYTES,
    Kind,
    Outcome,
    Record,
    SegmentHeader,
    read_frames,
    read_header,
    read_record,
)
from tests.integration.gateway.conftest import HOST, Node, make_node
from tests.stack import until

BODY = json.dumps({"model": "m", "messages": []})


@dataclass
class Segment:
    """One segment as it stands on disk."""

    header: SegmentHeader
    records: list[Record]
    end: int
    rest: bytes


def read_segment(path: Path) -> Segment:
    data = path.read_bytes()
    records, end = [], HEADER_BYTES
    for after, payload in read_frames(data, HEADER_BYTES):
        records.append(read_record(payload))
        end = after
    return Segment(read_header(data), records, end, data[end : end + 8])


def segments(node: Node) -> list[Segment]:
    files = sorted((node.gateway.prefix / "journal").glob("*/*.seg"))
    return [read_segment(file) for file in files]


@dataclass
class Load:
    """Clients that call as fast as they are answered and remember what came of each id."""

    node: Node
    clients: int = 8
    answered: dict[str, int] = field(default_factory=dict)
    stopping: bool = False

    def __enter__(self) -> Self:
        self.threads = [
            threading.Thread(target=self.run, args=(number,)) for number in range(self.clients)
        ]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping = True
        for thread in self.threads:
            thread.join()

    def wait_for_answers(self, more: int) -> None:
        """Wait until this many more calls were answered."""
        before = len(self.answered)
        until(lambda: len(self.answered) > before + more, f"{more} more answers")

    def run(self, number: int) -> None:
        port = self.node.gateway.settings.gateway.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        count = 0
        while not self.stopping:
            count += 1
            request_id = f"client-{number}-{count}".ljust(128, "_")
            headers = {
                "Host": HOST,
                "Authorization": f"Bearer {self.node.key}",
                "X-Request-Id": request_id,
            }
            try:
                connection.request("POST", "/v1/chat/completions", BODY, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()  # its worker was killed
            else:
                self.answered[request_id] = answer.status
        connection.close()


def test_workers_killed_under_load_leave_whole_records_of_every_answer(node: Node) -> None:
    with Load(node) as load:
        for _ in range(4):
            load.wait_for_answers(400)
            victim = node.gateway.workers()[0]
            os.kill(victim, signal.SIGKILL)
            until(lambda pid=victim: pid not in node.gateway.workers(), "the worker is dead")
        load.wait_for_answers(400)

    succeeded = {request_id for request_id, status in load.answered.items() if status == 200}
    assert len(succeeded) > 2000
    found = segments(node)
    assert len({segment.header.writer for segment in found}) == 6
    for segment in found:
        # No frame is torn: behind the last sound one there is nothing.
        assert segment.rest == bytes(8)[: len(segment.rest)]
    records = [record for segment in found for record in segment.records]
    begun = Counter(record.request_id for record in records if record.kind is Kind.BEGIN)
    ended = Counter(record.request_id for record in records if record.kind is Kind.END)
    assert max(begun.values()) == max(ended.values()) == 1
    assert succeeded <= set(ended) <= set(begun)
    # What was under way in a killed worker has a B alone, and no more than was under way.
    assert len(set(begun) - set(ended)) <= 4 * load.clients

    for writer in {segment.header.writer for segment in found}:
        own = [s for s in found if s.header.writer == writer]
        assert [s.header.segment for s in own] == list(range(1, len(own) + 1))
        numbers = [r.seq for s in own for r in s.records if r.kind is Kind.BEGIN]
        assert numbers == list(range(1, len(numbers) + 1))


def test_segments_follow_each_other_and_are_sealed(node: Node) -> None:
    with Load(node) as load:
        until(lambda: len(load.answered) > 4500, "enough calls", 60)
    found = segments(node)
    sealed = [segment for segment in found if segment.header.sealed]
    assert sealed
    assert all(segment.header.sealed == segment.end for segment in sealed)
    records = [record for segment in found for record in segment.records]
    assert {r.request_id for r in records if r.kind is Kind.END} == set(load.answered)
    assert all(r.outcome is Outcome.COMPLETE for r in records if r.kind is Kind.END)
    last = max((s for s in found if s.records), key=lambda s: s.header.segment)
    following = [s.header.segment for s in found if s.header.writer == last.header.writer]
    assert max(following) == last.header.segment + 1  # allocated before it is needed


def test_record_holds_the_identity_of_the_call(node: Node) -> None:
    started = time.time_ns() // 1000
    answer = node.call(headers={"X-Request-Id": "one"})
    assert answer.status_code == 200
    records = until(lambda: two if len(two := _all(node)) == 2 else None, "B and E")
    begin, end = records
    assert (begin.kind, end.kind) == (Kind.BEGIN, Kind.END)
    document = node.gateway.publisher.documents["credentials"][node.key_id]
    for record in records:
        assert str(record.tenant) == node.tenant
        assert str(record.key) == document["key"]
        assert str(record.model) == node.model
        assert record.endpoint == "/v1/chat/completions"
        assert record.request_id == "one"
        assert (record.cost_per_call, record.cost_multiplier) == ("0.01", "1.5")
        assert (record.seq, record.request_bytes) == (1, len(BODY))
    assert begin.started_us == end.started_us
    assert started <= begin.started_us <= started + 5_000_000
    assert 0 < end.first_byte_us <= end.duration_us
    assert end.response_bytes == len(answer.content)
    assert (end.status, end.outcome) == (200, Outcome.COMPLETE)


def _all(node: Node) -> list[Record]:
    return [record for segment in segments(node) for record in segment.records]


@pytest.fixture(scope="module")
def single() -> Iterator[Node]:
    """A node with one worker."""
    yield from make_node(workers=1)


def test_full_disk_refuses_calls_and_still_ends_those_that_began(single: Node) -> None:
    node = single
    (own,) = (node.gateway.prefix / "journal").iterdir()
    own.rename(own.with_name("moved"))  # no segment can be made there any more
    with Load(node) as load:
        until(lambda: 503 in load.answered.values(), "the journal is full", 60)
        until(lambda: list(load.answered.values()).count(503) > 50, "calls are refused")
    node.upstream.reset()
    answer = node.call()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "journal_unavailable")
    assert not node.upstream.received
    records = _all(node)
    begun = {r.request_id for r in records if r.kind is Kind.BEGIN}
    ended = {r.request_id for r in records if r.kind is Kind.END}
    assert begun == ended == {i for i, status in load.answered.items() if status == 200}
    assert not list((node.gateway.prefix / "journal").rglob("*.tmp"))


def test_a_journal_that_could_not_be_opened_is_when_it_can(single: Node) -> None:
    node = single
    journal = node.gateway.prefix / "journal"
    node.gateway.stop()
    journal.rename(journal.with_name("former"))
    journal.touch()  # what is no directory takes none
    node.gateway.start_rendered()
    until(lambda: node.gateway.call("GET", "/readyz", "x").ok, "the worker has begun", 5)
    assert node.call().json()["error"]["code"] == "journal_unavailable"
    journal.unlink()
    journal.mkdir()
    assert node.call().status_code == 200
    (own,) = journal.iterdir()
    assert {path.name for path in own.iterdir()} >= {"lock", "000001.seg"}
