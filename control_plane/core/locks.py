"""Lets one transaction at a time do something, by PostgreSQL's advisory locks."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def hold(session: Session, *number: int) -> None:
    """Wait for those who hold the lock *number*, then hold it until the transaction ends.

    *number* is one of 64 bits, or two of 32. On SQLite a session that may write is alone from its
    start.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(*number)))
