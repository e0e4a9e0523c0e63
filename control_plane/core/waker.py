"""Tells the worker after a commit that the outbox holds something, so that it need not poll."""

import redis
from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker

from control_plane.contract import keys
from control_plane.core.redis import connect
from control_plane.core.settings import Settings

_EMITTED = "yumen_emitted"
_TIMEOUT_SECONDS = 0.5


def wake_after_commit(session: Session) -> None:
    """Note that the session's transaction leaves something in the outbox."""
    session.info[_EMITTED] = True


class Waker:
    """Follows the commits of all sessions of a database."""

    def __init__(self, settings: Settings) -> None:
        self._redis = connect(settings, socket_timeout=_TIMEOUT_SECONDS)

    def listen(self, sessions: sessionmaker[Session]) -> None:
        """Follow the commits of *sessions*."""
        event.listen(sessions, "after_commit", self._after_commit)
        event.listen(sessions, "after_rollback", self._after_rollback)

    def close(self) -> None:
        """Close the connection to Redis."""
        self._redis.close()

    def _after_commit(self, session: Session) -> None:
        if session.in_nested_transaction() or not session.info.pop(_EMITTED, False):
            return
        try:
            self._redis.publish(keys.WAKE, "outbox")
        except redis.RedisError:
            # The worker also looks once a second; the change itself is committed.
            return

    def _after_rollback(self, session: Session) -> None:
        session.info.pop(_EMITTED, None)
