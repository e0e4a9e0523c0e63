"""Publishes: the database decides what a revision is, then Redis is moved to it in one step.

Whatever goes wrong between the two leaves Redis behind or ahead of the database. The publisher
compares them before each publish and once a second, and where they differ it publishes everything
again under a new epoch, which gateways take for newer than anything they hold.
"""

import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis
import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.contract import keys
from control_plane.core import outbox, plugins
from control_plane.core.database import Database
from control_plane.core.leader import Leader
from control_plane.core.outbox import OutboxEvent
from control_plane.core.plugins import Section
from control_plane.core.redis import connect
from control_plane.core.settings import Settings
from control_plane.core.tenancy import platform_context
from control_plane.publishing import channel, compiler, consistency, history
from control_plane.publishing.channel import Key, Revision
from control_plane.publishing.compiler import Compiled
from control_plane.publishing.models import PublishedDocument, PublishingState
from control_plane.publishing.sweep import Sweep

BATCH = 500
POLL_SECONDS = 1.0
_REST_SECONDS = 0.02
_ROWS_AT_ONCE = 1000
_TIMEOUT_SECONDS = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Publish:
    """A revision that the database holds and Redis is to be moved to."""

    start: Revision
    to: Revision
    changes: dict[Key, dict[str, Any] | None]


class Publisher:
    """Moves the configuration from the database to Redis; `cycle` does all there is to do."""

    def __init__(
        self, database: Database, client: redis.Redis, sections: Sequence[Section] | None = None
    ) -> None:
        self._database = database
        self._redis = client
        self._sections = plugins.config_sections() if sections is None else sections
        self._sweep = Sweep(self._sections)

    def cycle(self) -> bool:
        """Bring Redis up to date with the database, and a piece of both with what the rooms hold.

        Return whether there are more pieces to look at, which is done once.

        Raises:
            FencedError: another publisher is at work.
        """
        with platform_context():
            if channel.held(self._redis) != self._recorded():
                self._restore()
            while self._has_work():
                self._publish()
            if not self._sweep.is_done:
                with self._database.session(write=False) as session:
                    drifted = self._sweep.step(session)
                if drifted:
                    self._publish(drifted)
            return not self._sweep.is_done

    def _publish(self, drifted: Collection[Key] = ()) -> None:
        publish = self.commit(drifted)
        if publish is not None:
            self.send(publish)

    def commit(self, drifted: Collection[Key] = ()) -> Publish | None:
        """Make the next revision in the database; None when nothing that is published changed."""
        with platform_context(), self._database.transaction() as session:
            state = _locked_state(session)
            events = outbox.pending(session, BATCH)
            wanted = compiler.stale(self._sections, events).union(drifted)
            compiled = self._compile(session, wanted | history.refused(session))
            publish = _record(session, state, compiled, events)
            outbox.done(session, events)
        return publish

    def send(self, publish: Publish) -> None:
        """Move Redis to a revision that was committed.

        Raises:
            FencedError: Redis is not where the publish starts from.
        """
        channel.move(self._redis, publish.start, publish.to, publish.changes)
        log.info("published", revision=str(publish.to), documents=len(publish.changes))

    def _compile(self, session: Session, wanted: set[Key]) -> Compiled:
        """Compile *wanted* and what has to be published along with them."""
        compiled = Compiled()
        more = wanted
        while more:
            compiler.compile_documents(session, self._sections, more, compiled)
            more = consistency.neighbours(session, compiled)
        consistency.refuse_dangling(session, compiled)
        return compiled

    def _restore(self) -> None:
        """Publish everything again under a new epoch: Redis is not where the database is."""
        start = channel.held(self._redis)
        with self._database.transaction() as session:
            state = _locked_state(session)
            before = Revision(state.epoch, state.revision)
            if start == before:
                return
            state.epoch = max(state.epoch, start.epoch) + 1
            state.revision += 1
            to = Revision(state.epoch, state.revision)
            reason = f"Redis held {start}, the database {before}."
            history.record(session, to, changes=None, reason=reason)
            staged = channel.stage(self._redis, to, _all_documents(session))
        channel.replace(self._redis, start, to, staged)
        log.warning("republished", revision=str(to), reason=reason)

    def _recorded(self) -> Revision:
        with self._database.session(write=False) as session:
            state = session.get(PublishingState, 1)
            return Revision(0, 0) if state is None else Revision(state.epoch, state.revision)

    def _has_work(self) -> bool:
        with self._database.session(write=False) as session:
            return bool(outbox.pending(session, 1))


def _all_documents(session: Session) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Yield everything that is published; it may be too much to be held."""
    table = PublishedDocument
    query = select(table.section, table.document_id, table.document)
    rows = session.execute(query.execution_options(yield_per=_ROWS_AT_ONCE))
    return (((section, document_id), document) for section, document_id, document in rows)


def _locked_state(session: Session) -> PublishingState:
    """Return the state, which no other publisher can change until this transaction ends."""
    state = session.get(PublishingState, 1, with_for_update=True)
    if state is None:
        state = PublishingState(id=1, epoch=0, revision=0)
        session.add(state)
        session.flush()
    return state


def _record(
    session: Session, state: PublishingState, compiled: Compiled, events: Sequence[OutboxEvent]
) -> Publish | None:
    """Write the new revision, if anything changed, and what was refused."""
    before = consistency.published(session, compiled.documents.keys())
    changes = {
        key: document for key, document in compiled.documents.items() if document != before.get(key)
    }
    history.record_refusals(session, compiled)
    if not changes:
        return None
    start = Revision(state.epoch, state.revision)
    state.revision += 1
    to = Revision(state.epoch, state.revision)
    history.record(
        session,
        to,
        changes=sorted(changes),
        reason=", ".join(sorted({event.name for event in events})) or "drift",
        actors={event.actor_id for event in events},
    )
    history.store(session, to, changes)
    return Publish(start, to, changes)


def run_publisher(settings: Settings, stop: threading.Event) -> None:
    """Publish, as long as this process leads, until *stop* is set.

    A commit's wake-up is followed at once; without one the database is looked at every second.
    """
    database, client = Database(settings), connect(settings, socket_timeout=_TIMEOUT_SECONDS)
    leader = Leader(settings, database, "publisher")
    wakes = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    try:
        wakes.subscribe(keys.WAKE)
        publisher: Publisher | None = None
        while not stop.is_set():
            has_more = False
            if leader.holds():
                publisher = publisher or Publisher(database, client)
                has_more = _cycle(publisher)
            else:
                publisher = None
            wakes.get_message(timeout=_REST_SECONDS if has_more else POLL_SECONDS)
            while wakes.get_message():
                pass  # one cycle answers all that woke it
    finally:
        wakes.close()
        client.close()
        leader.release()
        database.close()


def _cycle(publisher: Publisher) -> bool:
    try:
        return publisher.cycle()
    except channel.FencedError as error:
        # A publisher that led before this one finished its last step; the next cycle sees to it.
        log.warning("publisher_fenced", error=str(error))
        return False
