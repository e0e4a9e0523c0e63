"""How much of a journal waits, and since when, against what was written and what is confirmed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from control_plane.contract import journal, keys
from control_plane.contract.usage_stream import CONFIRMED_RUN, Position
from control_plane.shipper.backlog import Backlog
from control_plane.shipper.shipping import Shipping
from tests.journal_writer import STARTED_US, JournalWriter
from tests.servers import RedisServer


class Measured:
    """A writer, its shipper's view, and what is said of it."""

    def __init__(self, folder: Path, client: redis.Redis) -> None:
        self.client = client
        self.writer = JournalWriter(folder / "journal", size=4096)
        self.shipping = Shipping(client, folder / "journal", "node-a", 5)
        self.file = folder / "shipper.json"
        self.backlog = Backlog(self.shipping, self.file)
        client.hset(keys.USAGE_CONFIRMED, CONFIRMED_RUN, client.info("server")["run_id"])

    def said(self) -> dict[str, Any]:
        self.shipping.discover()
        self.shipping.confirm()
        self.backlog.tell()
        return dict(json.loads(self.file.read_text()))

    def confirm(self, position: Position | str) -> None:
        self.client.hset(keys.USAGE_CONFIRMED, self.writer.writer, str(position))


@pytest.fixture
def measured(tmp_path: Path, redis_server: RedisServer) -> Iterator[Measured]:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        made = Measured(tmp_path, client)
        yield made
        made.writer.die()


def test_what_is_written_waits_until_it_is_confirmed(measured: Measured) -> None:
    assert measured.said()["bytes"] == 0
    assert measured.said()["oldest"] is None
    writer = measured.writer
    writer.call(1)
    after_first = Position(writer.number, writer.at)
    writer.call(2)
    written = writer.at - journal.HEADER_BYTES
    said = measured.said()
    assert said["bytes"] == written
    assert said["oldest"] == (STARTED_US + 1000) / 1e6
    assert said["at"] > 1.7e9

    measured.confirm(after_first)
    said = measured.said()
    assert said["bytes"] == writer.at - after_first.offset
    assert said["oldest"] == (STARTED_US + 2000) / 1e6

    measured.confirm(Position(writer.number, writer.at))
    assert (measured.said()["bytes"], measured.said()["oldest"]) == (0, None)


def test_segments_that_are_full_count_up_to_their_end(measured: Measured) -> None:
    writer = measured.writer
    for seq in range(1, 60):
        writer.call(seq)
        if seq % 10 == 0:
            assert measured.said()["bytes"] == _all(writer)
    assert writer.number > 3
    assert measured.said()["bytes"] == _all(writer)
    measured.confirm(Position(writer.number, journal.HEADER_BYTES))
    assert measured.said()["bytes"] == writer.at - journal.HEADER_BYTES
    writer.die()
    assert measured.said()["bytes"] == writer.at - journal.HEADER_BYTES
    measured.confirm("ended")
    assert (measured.said()["bytes"], measured.said()["oldest"]) == (0, None)


def _all(writer: JournalWriter) -> int:
    """Return what the writer has written so far, by the headers of its full segments."""
    total = writer.at - journal.HEADER_BYTES
    for number in range(1, writer.number):
        head = writer.path(number).read_bytes()[: journal.HEADER_BYTES]
        total += journal.read_header(head).sealed - journal.HEADER_BYTES
    return total
