"""Breaks the usage consumer on purpose, to show that the chaos test sees it.

Python imports this module at its start when its folder is on PYTHONPATH; CHAOS_MUTANT names the
mutant. Each pauses where the real code does not stop, so that a kill hits the broken place.
"""

import os
import time

from sqlalchemy import insert, inspect, text

from control_plane.contract.keys import USAGE_CONFIRMED
from control_plane.contract.usage_stream import CONFIRMED_RUN
from control_plane.core.tenancy import platform_context
from control_plane.usage import ingest
from control_plane.usage.consumer import Consumer
from control_plane.usage.models import UsageEvent

PAUSE_SECONDS = 0.2


def acknowledge_before_commit() -> None:
    """Tell Redis that a batch is safe while its transaction is still open.

    Acknowledging the stream early would not be enough to lose anything: what is confirmed to the
    shipper is what the database holds, and the rest is sent again. So this mutant also confirms
    what it was given, and goes on believing it after its death.
    """

    def commit(self, entries):
        arrivals = ingest.collect(entry.chunk for entry in entries)
        confirmed = {entry.chunk.writer: str(entry.chunk.end) for entry in entries}
        with platform_context(), self._database.transaction() as session:
            ingest.take_in(session, arrivals)
            self._acknowledge(entries, confirmed)
            time.sleep(PAUSE_SECONDS)
        return confirmed

    def prepare_trusting(self):
        run_id = self._redis.info("server")["run_id"]
        if self._redis.hget(USAGE_CONFIRMED, CONFIRMED_RUN) == run_id.encode():
            self._run_id = run_id
        else:
            prepare(self)

    prepare = Consumer._prepare
    Consumer._commit = commit
    Consumer._prepare = prepare_trusting


def without_unique_key() -> None:
    """Drop the events' unique key, and insert without minding what is there."""
    conflict_free = ingest._insert
    real_commit = Consumer._commit

    def insert_blindly(session, entity, rows):
        if entity is not UsageEvent or not rows:
            return conflict_free(session, entity, rows)
        session.execute(insert(UsageEvent.__table__), rows)
        columns = [column.name for column in inspect(UsageEvent).primary_key]
        return [tuple(row[name] for name in columns) for row in rows]

    def commit(self, entries):
        with self._database.transaction() as session:
            if "PRIMARY KEY" in session.scalar(
                text("SELECT sql FROM sqlite_master WHERE name = 'usage_events'")
            ):
                session.execute(text("CREATE TABLE bare AS SELECT * FROM usage_events"))
                session.execute(text("DROP TABLE usage_events"))
                session.execute(text("ALTER TABLE bare RENAME TO usage_events"))
        confirmed = real_commit(self, entries)
        time.sleep(PAUSE_SECONDS)
        return confirmed

    ingest._insert = insert_blindly
    Consumer._commit = commit


globals()[os.environ["CHAOS_MUTANT"]]()
