"""The verbs of sign-ins: opened with a password, renewed with rotating refresh tokens, ended."""

import base64
import dataclasses
import datetime
import hmac
import secrets
import uuid
from hashlib import sha256
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from control_plane.core import clock, occasions, pagination, tenancy
from control_plane.core.auditing import FORGETTING
from control_plane.core.auth import Actor
from control_plane.core.database import keyring
from control_plane.core.errors import NotFound, Unauthorized
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.origin import UNKNOWN_NETWORK
from control_plane.core.pagination import Page
from control_plane.core.plugins import JobContext
from control_plane.core.schemas import Order
from control_plane.identity.events import RefreshTokenReused
from control_plane.identity.models import (
    MailedToken,
    RefreshToken,
    User,
    UserSession,
    UserStatus,
)
from control_plane.identity.service import sign_in, users

GRACE = datetime.timedelta(seconds=10)
"""How long a refresh token may be used again, with the same result: answers get lost."""


@dataclasses.dataclass(frozen=True)
class SignIn:
    """A sign-in and the refresh token that renews it next, which is known only now."""

    session_id: uuid.UUID
    user_id: uuid.UUID
    refresh_token: str


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where somebody signs in from."""

    network: str = UNKNOWN_NETWORK
    user_agent: str | None = None


NOWHERE = Origin()


def open_session(
    session: Session, user_id: uuid.UUID, lifetime: datetime.timedelta, origin: Origin = NOWHERE
) -> SignIn:
    """Sign a user in."""
    user = users.get_user(session, user_id)
    occasions.prove(user.id)
    # Not through the row: to sign in is no change that somebody else's If-Match should trip over.
    session.execute(update(User).where(User.id == user.id).values(last_login=clock.now()))
    opened = UserSession(
        id=new_id(),
        user_id=user.id,
        network=origin.network,
        user_agent=origin.user_agent,
    )
    session.add(opened)
    session.flush()
    token = secrets.token_urlsafe(32)
    _add_token(session, opened.id, token, clock.now() + lifetime)
    sign_in.become_familiar(session, user.id, origin.network)
    return SignIn(opened.id, user.id, token)


def renew_session(session: Session, token: str, lifetime: datetime.timedelta) -> SignIn | None:
    """Exchange a refresh token for its successor.

    Returns:
        None when the token was used before: it has leaked, and the sign-in is ended. The caller
        must commit that.

    Raises:
        Unauthorized: there is no such token, or it or its sign-in is over.
    """
    known = session.scalar(
        select(RefreshToken).where(RefreshToken.digest == _digest(token)).with_for_update()
    )
    if known is None or known.expires_at <= clock.now():
        raise _invalid_refresh_token()
    opened, user = _opened(session, known.session_id)
    # Made from the token itself, so that parallel uses of one token get one and the same successor.
    successor = _successor(session, token)
    if known.used_at is None:
        known.used_at = clock.now()
        _add_token(session, opened.id, successor, clock.now() + lifetime)
        return SignIn(opened.id, user.id, successor)
    if clock.now() - known.used_at < GRACE and _is_unused(session, successor):
        return SignIn(opened.id, user.id, successor)
    opened.ended_at = clock.now()
    emit(session, RefreshTokenReused(user_id=user.id, tenant_id=user.tenant_id))
    session.flush()
    return None


def list_sessions(
    session: Session, user_id: uuid.UUID, *, page: int, page_size: int, sort: Order = ()
) -> Page[UserSession]:
    """Return a user's sign-ins that have not ended, oldest first by default."""
    query = (
        select(UserSession)
        .where(UserSession.user_id == user_id, UserSession.ended_at.is_(None), _is_alive())
        .order_by(*pagination.ordering(UserSession, sort))
    )
    return pagination.page(session, query, page, page_size)


def get_session(session: Session, user_id: uuid.UUID, session_id: uuid.UUID | None) -> UserSession:
    """Return a sign-in of a user.

    Raises:
        NotFound: he has no such sign-in, or it has ended.
    """
    opened = session.scalar(
        select(UserSession).where(
            UserSession.id == session_id,
            UserSession.user_id == user_id,
            UserSession.ended_at.is_(None),
        )
    )
    if opened is None:
        raise NotFound("sign_in")
    return opened


def end_session(session: Session, opened: UserSession) -> None:
    """Sign out: no token of the sign-in is good any more. To do it twice at once does no harm."""
    session.execute(
        update(UserSession)
        .where(UserSession.id == opened.id, UserSession.ended_at.is_(None))
        .values(ended_at=clock.now(), version=UserSession.version + 1)
    )


def actor_of(session: Session, session_id: uuid.UUID) -> Actor:
    """Return who acts in a sign-in, as his role and status are now.

    Raises:
        Unauthorized: the sign-in is over, or the user may not sign in any more.
    """
    row = session.execute(
        select(UserSession.ended_at, User)
        .join(User, User.id == UserSession.user_id)
        .where(UserSession.id == session_id)
    ).one_or_none()
    if row is None or row.ended_at is not None or row.User.status is not UserStatus.ACTIVE:
        raise Unauthorized("session_ended", "This sign-in has ended; sign in again.")
    user: User = row.User
    rights = frozenset(permission.name for permission in user.permissions)
    return Actor(user.id, user.tenant_id, rights, session_id, user.fields)


def forget_expired_tokens(context: JobContext) -> None:
    """Delete tokens that are over, sign-ins without any left, networks not seen for long."""
    with tenancy.platform_context(), context.database.transaction() as session:
        session.execute(delete(RefreshToken).where(RefreshToken.expires_at <= clock.now()))
        session.execute(delete(MailedToken).where(MailedToken.expires_at <= clock.now()))
        sign_in.forget_networks(session)
        over = (
            UserSession.created_at <= clock.now() - datetime.timedelta(hours=1),
            UserSession.id.not_in(select(RefreshToken.session_id)),
        )
        session.execute(delete(UserSession).where(*over), execution_options={FORGETTING: True})


def _is_alive() -> Any:
    """Return the condition that a sign-in can still be renewed."""
    return UserSession.id.in_(
        select(RefreshToken.session_id).where(RefreshToken.expires_at > clock.now())
    )


def _opened(session: Session, session_id: uuid.UUID) -> tuple[UserSession, User]:
    row = session.execute(
        select(UserSession, User)
        .join(User, User.id == UserSession.user_id)
        .where(UserSession.id == session_id)
    ).one()
    if row.UserSession.ended_at is not None or row.User.status is not UserStatus.ACTIVE:
        raise _invalid_refresh_token()
    return row.UserSession, row.User


def _add_token(
    session: Session, session_id: uuid.UUID, token: str, expires_at: datetime.datetime
) -> None:
    session.add(RefreshToken(digest=_digest(token), session_id=session_id, expires_at=expires_at))
    session.flush()


def _is_unused(session: Session, token: str) -> bool:
    known = session.get(RefreshToken, _digest(token))
    return known is not None and known.used_at is None


def _successor(session: Session, token: str) -> str:
    digest = hmac.new(
        keyring(session).derived_key("refresh-token"), token.encode("utf-8"), sha256
    ).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def _digest(token: str) -> str:
    return sha256(token.encode("utf-8")).hexdigest()


def _invalid_refresh_token() -> Unauthorized:
    return Unauthorized("invalid_refresh_token", "The refresh token is not valid; sign in again.")
