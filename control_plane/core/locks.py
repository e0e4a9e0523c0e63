"""Lets one transaction at a time do something, by PostgreSQL's advisory locks."""

from sqlalchemy import text
from sqlalchemy.orm import Session

_HOLD = {
    1: text("SELECT pg_advisory_xact_lock(:a)"),
    2: text("SELECT pg_advisory_xact_lock(:a, :b)"),
}


def hold(session: Session, *number: int) -> None:
    """Wait for those who hold the lock *number*, then hold it until the transaction ends.

    *number* is one of 64 bits, or two of 32. On SQLite a session that may write is alone from its
    start.
    """
    if session.get_bind().dialect.name == "postgresql":
        # Others wait meanwhile: as a text it takes a third of the time that an expression does.
        session.connection().execute(_HOLD[len(number)], dict(zip("ab", number, strict=False)))
