"""Reads the usage stream into the database: commit first, acknowledge then, confirm last.

Killed at any point, the consumer leaves entries that are delivered again, and taking them in again
changes nothing. The database being away is waited for; an entry that the database refuses is tried
alone and again, and goes to quarantine in the end, so that it holds up nothing else.
"""

import os
import re
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis
import structlog
from sqlalchemy import select
from sqlalchemy.exc import InterfaceError, OperationalError

from control_plane import identity
from control_plane.contract import keys
from control_plane.contract.journal import JournalError
from control_plane.contract.usage_stream import CONFIRMED_RUN, Chunk, read_chunk
from control_plane.core import clock
from control_plane.core.database import Database
from control_plane.core.redis import connect
from control_plane.core.settings import Settings
from control_plane.core.tenancy import platform_context
from control_plane.usage import ingest
from control_plane.usage.models import UsageWriter
from control_plane.usage.partitions import Partitions

_COUNT = 32
_TRANSACTION_BYTES = 512 * 1024
_GROUP_GONE = re.compile("NOGROUP|UNBLOCKED")
_BLOCK_MS = 500
_CLAIM_IDLE_MS = 5000
_CHECK_SECONDS = 1.0
_AWAY_SECONDS = 0.5
_MAX_DELIVERIES = 5
_FORGET_CONSUMER_MS = 3_600_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the stream; `chunk` is None when its fields are not a chunk."""

    id: bytes
    fields: dict[bytes, bytes]
    chunk: Chunk | None
    error: str = ""


def run_consumer(settings: Settings, stop: threading.Event) -> None:
    """Take usage into the database until *stop* is set."""
    database = Database(settings)
    client = connect(settings, socket_timeout=_BLOCK_MS / 1000 + 5)
    try:
        Consumer(database, client, f"{socket.gethostname()}-{os.getpid()}").run(stop)
    finally:
        client.close()
        database.close()


class Consumer:
    """One member of the stream's consumer group."""

    def __init__(self, database: Database, client: redis.Redis, name: str) -> None:
        self._database = database
        self._redis: Any = client
        self._name = name
        self._partitions = Partitions(database)
        self._run_id: str | None = None
        self._checked_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Go on until *stop* is set; Redis and the database may come and go."""
        away = False
        while not stop.is_set():
            try:
                self.step()
            except (redis.RedisError, OperationalError, InterfaceError) as error:
                if not away:
                    log.warning("usage waits for redis or the database", error=str(error))
                away = True
                self._run_id = None
                stop.wait(_AWAY_SECONDS)
            else:
                if away:
                    log.info("usage goes on")
                away = False

    def step(self) -> int:
        """Take in the next batch; return how many entries it had."""
        try:
            return self._step()
        except redis.ResponseError as error:
            if not _GROUP_GONE.match(str(error)):
                raise
            # And so is everything else that Redis held: begin anew.
            self._run_id = None
            return 0

    def _step(self) -> int:
        if clock.monotonic() - self._checked_at > _CHECK_SECONDS or self._run_id is None:
            self._prepare()
            self._checked_at = clock.monotonic()
            self._take(self._claim())
        entries = self._read()
        self._take(entries)
        return len(entries)

    def _take(self, entries: Sequence[Entry]) -> None:
        """Process *entries* in transactions of bounded length: on SQLite other writers wait."""
        batch: list[Entry] = []
        size = 0
        for entry in entries:
            batch.append(entry)
            size += len(entry.chunk.data) if entry.chunk else 0
            if size >= _TRANSACTION_BYTES:
                self.process(batch)
                batch, size = [], 0
        if batch:
            self.process(batch)

    def process(self, entries: Sequence[Entry]) -> None:
        """Commit what *entries* bring, then acknowledge them, then confirm.

        Raises:
            OperationalError: the database is away; the entries stay pending.
        """
        try:
            self._acknowledge(entries, self._commit(entries))
        except (redis.RedisError, OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever one entry breaks, the rest goes on
            self._partitions.forget()
            if len(entries) == 1:
                self._refuse(entries[0], error)
                return
            for entry in entries:
                self.process([entry])

    def _commit(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Take *entries* in with one transaction; return what to confirm."""
        arrivals = ingest.collect(entry.chunk for entry in entries if entry.chunk is not None)
        self._partitions.ensure(
            call.row["day"]
            for arrival in arrivals.values()
            for call in (*arrival.begun.values(), *arrival.ended.values())
        )
        unreadable = [
            ingest.entry(
                "", entry.id.decode(), "undecodable", entry.error, repr(entry.fields).encode()
            )
            for entry in entries
            if entry.chunk is None
        ]
        with platform_context(), self._database.transaction() as session:
            ingest.quarantine(session, unreadable)
            identity.note_key_use(session, ingest.keys_used(arrivals))
            return ingest.take_in(session, arrivals)

    def _refuse(self, entry: Entry, error: Exception) -> None:
        """Quarantine an entry that fails too often; until then it stays pending for another try."""
        pending = self._redis.xpending_range(
            keys.USAGE, keys.USAGE_GROUP, min=entry.id, max=entry.id, count=1
        )
        deliveries = pending[0]["times_delivered"] if pending else 0
        log.error("usage entry refused", entry=entry.id, deliveries=deliveries, error=str(error))
        chunk = entry.chunk
        if chunk is None or deliveries <= _MAX_DELIVERIES:
            return
        row = ingest.entry(chunk.writer, str(chunk.start), "refused", str(error), chunk.data)
        with platform_context(), self._database.transaction() as session:
            ingest.quarantine(session, [row])
            arrival = ingest.Arrival(stretches=[(chunk.start, chunk.end)])
            confirmed = ingest.take_in(session, {chunk.writer: arrival})
        self._acknowledge([entry], confirmed)

    def _acknowledge(self, entries: Sequence[Entry], confirmed: dict[str, str]) -> None:
        ids = [entry.id for entry in entries]
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xack(keys.USAGE, keys.USAGE_GROUP, *ids)
        pipeline.xdel(keys.USAGE, *ids)
        if confirmed:
            pipeline.hset(keys.USAGE_CONFIRMED, mapping=confirmed)
        pipeline.execute()

    def _read(self) -> list[Entry]:
        answer = self._redis.xreadgroup(
            keys.USAGE_GROUP, self._name, {keys.USAGE: ">"}, count=_COUNT, block=_BLOCK_MS
        )
        return [_entry(*item) for _, items in answer or () for item in items]

    def _claim(self) -> list[Entry]:
        """Take over what a consumer that died had been given."""
        answer = self._redis.xautoclaim(
            keys.USAGE,
            keys.USAGE_GROUP,
            self._name,
            min_idle_time=_CLAIM_IDLE_MS,
            count=_COUNT,
        )
        return [_entry(*item) for item in answer[1] if item[1] is not None]

    def _prepare(self) -> None:
        """On a Redis that is new to us, create the group and state what the database holds."""
        run_id = self._redis.info("server")["run_id"]
        if run_id == self._run_id:
            return
        try:
            self._redis.xgroup_create(keys.USAGE, keys.USAGE_GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._forget_consumers()
        with platform_context(), self._database.session(write=False) as session:
            rows = session.scalars(select(UsageWriter))
            confirmed = {row.writer: ingest.confirmation(row) for row in rows}
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.delete(keys.USAGE_CONFIRMED)
        pipeline.hset(keys.USAGE_CONFIRMED, mapping={**confirmed, CONFIRMED_RUN: run_id})
        pipeline.execute()
        self._run_id = run_id
        log.info("usage consumer ready", redis=run_id, writers=len(confirmed))

    def _forget_consumers(self) -> None:
        """Remove members of the group that are long gone and owe nothing."""
        for consumer in self._redis.xinfo_consumers(keys.USAGE, keys.USAGE_GROUP):
            if consumer["pending"] == 0 and consumer["idle"] > _FORGET_CONSUMER_MS:
                self._redis.xgroup_delconsumer(keys.USAGE, keys.USAGE_GROUP, consumer["name"])


def _entry(entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    try:
        return Entry(entry_id, fields, read_chunk(fields))
    except JournalError as error:
        return Entry(entry_id, fields, None, str(error))
