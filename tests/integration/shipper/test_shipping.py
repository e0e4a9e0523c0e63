"""The shipper against a real Redis: killed at any point, Redis wiped, everything arrives once."""

import os
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import select

from control_plane.contract import keys
from control_plane.contract.journal import Outcome
from control_plane.contract.usage_stream import CHUNK_BYTES, CONFIRMED_ENDED, CONFIRMED_RUN
from control_plane.core.database import Database
from control_plane.core.settings import Settings
from control_plane.core.tenancy import platform_context
from control_plane.usage import run_consumer
from control_plane.usage.models import UsageEvent, UsageQuarantine
from tests.journal_writer import JournalWriter, begin, frame
from tests.servers import RedisServer
from tests.stack import YUMEN, until

WINDOW = 32


@pytest.fixture
def database_url() -> None:
    """SQLite: what the database does is shown elsewhere."""


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as opened:
        yield opened


class Shipper:
    """The process `yumen shipper`."""

    def __init__(self, settings: Settings) -> None:
        self.command = [str(YUMEN), "shipper", "--state", str(settings.state)]
        self.environment = os.environ | {
            "YUMEN_REDIS_URL": settings.redis_url,
            "YUMEN_GATEWAY_NODE": "node-a",
            "YUMEN_USAGE_RESEND_SECONDS": "1",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, env=self.environment)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def shipper(settings: Settings) -> Iterator[Shipper]:
    made = Shipper(settings)
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGKILL)


@pytest.fixture
def writer(settings: Settings) -> Iterator[JournalWriter]:
    made = JournalWriter(settings.state / "gateway" / "journal")
    yield made
    made.die()


@pytest.fixture
def consumer(settings: Settings) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=run_consumer, args=(settings, stop))
    thread.start()
    yield
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def trust(client: redis.Redis) -> None:
    """Say what a consumer says that holds nothing: send everything."""
    client.hset(keys.USAGE_CONFIRMED, CONFIRMED_RUN, client.info("server")["run_id"])


def confirmed(client: redis.Redis, writer: JournalWriter) -> str:
    value = client.hget(keys.USAGE_CONFIRMED, writer.writer)
    return value.decode() if value else ""


def outcomes(database: Database) -> dict[int, int]:
    with platform_context(), database.session(write=False) as session:
        rows = session.execute(select(UsageEvent.seq, UsageEvent.outcome)).all()
        assert session.scalars(select(UsageQuarantine)).all() == []
    assert len(rows) == len({row.seq for row in rows})
    return {row.seq: row.outcome for row in rows}


@pytest.mark.usefixtures("consumer")
def test_killed_again_and_again_it_ships_everything_once(
    client: redis.Redis, shipper: Shipper, writer: JournalWriter, database: Database
) -> None:
    seq = 0
    for _ in range(3):
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            seq += 1
            writer.call(seq)
            time.sleep(0.001)
        shipper.end(signal.SIGKILL)
        shipper.start()
    writer.append(begin(seq + 1))
    writer.die()
    until(lambda: confirmed(client, writer) == CONFIRMED_ENDED, "the end to be confirmed")
    expected = dict.fromkeys(range(1, seq + 1), int(Outcome.COMPLETE))
    assert outcomes(database) == expected | {seq + 1: int(Outcome.ORPHAN)}
    assert writer.number > 3


@pytest.mark.usefixtures("consumer", "shipper")
def test_redis_wiped_in_the_middle_loses_nothing(
    client: redis.Redis, writer: JournalWriter, database: Database
) -> None:
    for seq in range(1, 1501):
        writer.call(seq)
        if seq in (300, 600, 900):
            client.flushall()
        time.sleep(0.001)
    writer.die()
    until(lambda: confirmed(client, writer) == CONFIRMED_ENDED, "the end to be confirmed")
    assert outcomes(database) == dict.fromkeys(range(1, 1501), int(Outcome.COMPLETE))


@pytest.mark.usefixtures("shipper")
def test_what_was_lost_on_the_way_is_sent_again(client: redis.Redis, writer: JournalWriter) -> None:
    trust(client)
    writer.call(1)
    until(lambda: client.xlen(keys.USAGE) == 1, "the chunk")
    ((lost, fields),) = client.xrange(keys.USAGE)
    client.xdel(keys.USAGE, lost)
    until(lambda: client.xlen(keys.USAGE) == 1, "the chunk again")
    ((_, again),) = client.xrange(keys.USAGE)
    assert again == fields


@pytest.mark.usefixtures("shipper")
def test_what_waits_in_the_stream_is_not_sent_again(
    client: redis.Redis, writer: JournalWriter
) -> None:
    trust(client)
    writer.call(1)
    until(lambda: client.xlen(keys.USAGE) == 1, "the chunk")
    writer.die()
    until(lambda: client.xlen(keys.USAGE) == 2, "the end mark")
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert client.xlen(keys.USAGE) == 2
        time.sleep(0.05)


@pytest.mark.usefixtures("shipper")
def test_what_an_older_redis_remembered_is_not_believed(
    client: redis.Redis, writer: JournalWriter
) -> None:
    client.hset(keys.USAGE_CONFIRMED, mapping={CONFIRMED_RUN: "another", writer.writer: "9:256"})
    writer.call(1)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        assert client.xlen(keys.USAGE) == 0
        time.sleep(0.05)
    client.delete(keys.USAGE_CONFIRMED)
    trust(client)
    until(lambda: client.xlen(keys.USAGE) == 1, "the chunk")


def test_after_the_database_was_restored_it_goes_back(
    client: redis.Redis, shipper: Shipper, writer: JournalWriter
) -> None:
    shipper.end()
    shipper.environment["YUMEN_USAGE_RESEND_SECONDS"] = "600"
    shipper.start()
    trust(client)
    writer.call(1)
    until(lambda: client.xlen(keys.USAGE) == 1, "the chunk")
    client.xtrim(keys.USAGE, maxlen=0)
    client.hset(keys.USAGE_CONFIRMED, writer.writer, f"1:{writer.at}")
    writer.call(2)
    until(lambda: client.xlen(keys.USAGE) == 1, "the next chunk")
    start = time.monotonic()
    until(lambda: time.monotonic() - start > 1, "the confirmation to be seen")
    client.hdel(keys.USAGE_CONFIRMED, writer.writer)
    until(lambda: client.xlen(keys.USAGE) == 2, "everything again")
    assert client.xrevrange(keys.USAGE, count=1)[0][1][b"from"] == b"0:0"


@pytest.mark.usefixtures("shipper")
def test_what_the_consumer_lags_behind_waits_on_disk(
    client: redis.Redis, settings: Settings
) -> None:
    trust(client)
    writer = JournalWriter(settings.state / "gateway" / "journal", size=32 * 1024 * 1024)
    long = frame(begin(1, request_id="x" * 200, endpoint="y" * 200, user_id="z" * 200))
    writer.fill(long * ((WINDOW + 7) * CHUNK_BYTES // len(long)))
    until(lambda: client.xlen(keys.USAGE) == WINDOW, "a full window")
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        assert client.xlen(keys.USAGE) == WINDOW
        time.sleep(0.05)
    entries = client.xrange(keys.USAGE)
    assert max(len(fields[b"data"]) for _, fields in entries) <= CHUNK_BYTES
    client.hset(keys.USAGE_CONFIRMED, writer.writer, entries[9][1][b"to"])
    until(lambda: client.xlen(keys.USAGE) == WINDOW + 8, "the rest")
    writer.die()


@pytest.mark.usefixtures("shipper")
def test_a_record_is_in_the_stream_at_once(client: redis.Redis, writer: JournalWriter) -> None:
    trust(client)
    writer.call(1)
    until(lambda: client.xlen(keys.USAGE) == 1, "the first chunk")
    taken = []
    for seq in range(2, 22):
        ((last, _),) = client.xrevrange(keys.USAGE, count=1)
        start = time.monotonic()
        writer.append(begin(seq))
        assert client.xread({keys.USAGE: last}, block=5000)
        taken.append(time.monotonic() - start)
        client.hset(keys.USAGE_CONFIRMED, writer.writer, f"1:{writer.at}")
    assert statistics.median(taken) < 0.05


def test_idle_it_costs_next_to_nothing(
    client: redis.Redis, shipper: Shipper, writer: JournalWriter
) -> None:
    trust(client)
    writer.call(1)
    until(lambda: client.xlen(keys.USAGE) == 1, "the chunk")
    client.hset(keys.USAGE_CONFIRMED, writer.writer, f"1:{writer.at}")
    assert shipper.process is not None
    before = cpu_seconds(shipper.process.pid)
    start = time.monotonic()
    until(lambda: time.monotonic() - start > 3, "three seconds")
    share = (cpu_seconds(shipper.process.pid) - before) / (time.monotonic() - start)
    assert share < 0.05


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_second_shipper_says_so_and_ends(
    client: redis.Redis, shipper: Shipper, writer: JournalWriter
) -> None:
    trust(client)
    writer.call(1)
    until(lambda: client.xlen(keys.USAGE) == 1, "the first to work")
    second = subprocess.run(
        shipper.command,
        env=shipper.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert "Another shipper holds" in second.stderr
    assert "Traceback" not in second.stderr
    assert shipper.end() == 0


def test_it_outlives_redis(settings: Settings, shipper: Shipper, writer: JournalWriter) -> None:
    shipper.end()
    with RedisServer() as server:
        shipper.environment["YUMEN_REDIS_URL"] = server.url
        shipper.start()
        writer.call(1)
        client = redis.Redis.from_url(server.url)
        trust(client)
        until(lambda: client.xlen(keys.USAGE) == 1, "the chunk")
        server.process.send_signal(signal.SIGSTOP)
        writer.call(2)
        time.sleep(0.05)
        server.process.send_signal(signal.SIGCONT)
        until(lambda: client.xlen(keys.USAGE) == 2, "the next chunk")
        client.close()
    assert shipper.process is not None
    writer.call(3)
    start = time.monotonic()
    until(lambda: time.monotonic() - start > 1, "a while without Redis")
    assert shipper.process.poll() is None
