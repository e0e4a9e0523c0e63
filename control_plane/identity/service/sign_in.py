"""Proves who somebody is by his password, and keeps others from guessing it."""

import contextlib
import datetime
import uuid

from sqlalchemy import delete, exists, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.core import clock, occasions, tenancy
from control_plane.core.database import Database
from control_plane.core.errors import ApiError, Unauthorized
from control_plane.core.origin import UNKNOWN_NETWORK
from control_plane.identity import names
from control_plane.identity.models import FamiliarNetwork, User, UserStatus
from control_plane.identity.service import passwords, throttle
from control_plane.identity.service.throttle import Throttle

FAMILIAR = datetime.timedelta(days=180)
"""How long a network in which a user proved himself stays familiar."""

WAITS_OF_ACCOUNT = throttle.Limit("account", (0, 0, 1, 2, 4, 8, 16, 32, 64, 900))
"""After ten failures one attempt each quarter of an hour: at most 14 in any hour."""

WAITS_OF_FAMILIAR = throttle.Limit("familiar", WAITS_OF_ACCOUNT.waits)
"""The same for the networks that the user is known from, so that strangers do not lock him out."""

WAITS_OF_NETWORK = throttle.Limit("network", (*[0] * 20, 1, 2, 4, 8, 16, 32, 60))
"""For names that are not known from the network, one after the other."""

_SEEN_AGAIN = datetime.timedelta(days=1)


def check_password(
    database: Database, attempts: Throttle, username: str, password: str, network: str
) -> uuid.UUID:
    """Return the id of the user whom *username* and *password* name.

    Runs in its own short transaction: hashing takes long, and on SQLite the request's session
    would meanwhile keep all others from writing. Names that nobody has are treated alike.

    Raises:
        Unauthorized: they do not name a user; which of the two is wrong is not said.
        TooManyAttempts: there were too many wrong ones; this one is not looked at.
    """
    name_key = names.name_key(username)
    with tenancy.platform_context(), database.session(write=False) as session:
        user, is_familiar = _find(session, name_key, network)
    if user is not None:
        occasions.concern(user.tenant_id, "user", user.id)
    taken = _count(attempts, name_key, network, is_familiar=is_familiar)
    try:
        right = passwords.verify_password(password, None if user is None else user.password_hash)
    except ApiError:  # too busy to look
        attempts.give_back(*taken)
        raise
    if user is None or not right or user.status is not UserStatus.ACTIVE:
        raise Unauthorized("invalid_credentials", "The username or the password is wrong.")
    attempts.give_back(*taken)
    return user.id


def become_familiar(session: Session, user_id: uuid.UUID, network: str) -> None:
    """Note that a user has proved himself in *network*."""
    if network == UNKNOWN_NETWORK:
        return
    now = clock.now()
    here = (FamiliarNetwork.user_id == user_id, FamiliarNetwork.network == network)
    last_seen = session.scalar(select(FamiliarNetwork.last_seen).where(*here))
    if last_seen is None:
        # Another request may be faster: then the network is familiar already.
        with contextlib.suppress(IntegrityError), session.begin_nested():
            session.add(FamiliarNetwork(user_id=user_id, network=network, last_seen=now))
    elif now - last_seen > _SEEN_AGAIN:
        session.execute(update(FamiliarNetwork).where(*here).values(last_seen=now))


def forget_networks(session: Session) -> None:
    """Forget networks that have not been familiar for long."""
    unseen = FamiliarNetwork.last_seen <= clock.now() - FAMILIAR
    session.execute(delete(FamiliarNetwork).where(unseen))


def _find(session: Session, name_key: str, network: str) -> tuple[User | None, bool]:
    """Return the user of a name, and whether he is known from *network*."""
    known_here = exists().where(
        FamiliarNetwork.user_id == User.id, FamiliarNetwork.network == network
    )
    row = session.execute(
        select(User, known_here).where(User.username_key == name_key)
    ).one_or_none()
    return (None, False) if row is None else (row[0], row[1])


def _count(
    attempts: Throttle, name_key: str, network: str, *, is_familiar: bool
) -> list[throttle.Attempt]:
    """Count an attempt for the account and, unless the user is known there, for the network.

    Raises:
        TooManyAttempts: it comes too early.
    """
    if is_familiar:
        return [attempts.take(WAITS_OF_FAMILIAR, name_key)]
    of_account = attempts.take(WAITS_OF_ACCOUNT, name_key)
    try:
        return [of_account, attempts.take(WAITS_OF_NETWORK, network)]
    except throttle.TooManyAttempts:
        attempts.give_back(of_account)
        raise
