"""The verbs of sign-ins: opened with a password, renewed with rotating refresh tokens, ended."""

import base64
import dataclasses
import datetime
import hmac
import secrets
import uuid
from hashlib import sha256

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from control_plane.core import clock, tenancy
from control_plane.core.auth import Actor
from control_plane.core.database import Database, keyring
from control_plane.core.errors import Unauthorized
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.plugins import JobContext
from control_plane.identity import permissions
from control_plane.identity.events import RefreshTokenReused
from control_plane.identity.models import RefreshToken, User, UserSession, UserStatus
from control_plane.identity.service import passwords, users

GRACE = datetime.timedelta(seconds=10)
"""How long a refresh token may be used again, with the same result: answers get lost."""


@dataclasses.dataclass(frozen=True)
class SignIn:
    """A sign-in and the refresh token that renews it next, which is known only now."""

    session_id: uuid.UUID
    user_id: uuid.UUID
    refresh_token: str


def check_password(database: Database, username: str, password: str) -> uuid.UUID:
    """Return the id of the user whom *username* and *password* name.

    Runs in its own short transaction: hashing takes long, and on SQLite the request's session
    would meanwhile keep all others from writing.

    Raises:
        Unauthorized: they do not name a user; which of the two is wrong is not said.
    """
    with tenancy.platform_context(), database.session(write=False) as session:
        user = users.find_user(session, username)
    right = passwords.verify_password(password, None if user is None else user.password_hash)
    if user is None or not right or user.status is not UserStatus.ACTIVE:
        raise Unauthorized("invalid_credentials", "The username or the password is wrong.")
    return user.id


def open_session(session: Session, user_id: uuid.UUID, lifetime: datetime.timedelta) -> SignIn:
    """Sign a user in."""
    user = users.get_user(session, user_id)
    user.last_login = clock.now()
    opened = UserSession(id=new_id(), user_id=user.id)
    session.add(opened)
    session.flush()
    token = secrets.token_urlsafe(32)
    _add_token(session, opened.id, token, clock.now() + lifetime)
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


def end_session(session: Session, session_id: uuid.UUID) -> None:
    """Sign out: no token of the sign-in is good any more."""
    opened = session.get(UserSession, session_id)
    if opened is not None and opened.ended_at is None:
        opened.ended_at = clock.now()
        session.flush()


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
    return Actor(user.id, user.tenant_id, permissions.of_role(user.role, user.tenant_id))


def forget_expired_tokens(context: JobContext) -> None:
    """Delete refresh tokens that are over, and sign-ins without any token left."""
    with tenancy.platform_context(), context.database.transaction() as session:
        session.execute(delete(RefreshToken).where(RefreshToken.expires_at <= clock.now()))
        session.execute(
            delete(UserSession).where(
                UserSession.created_at <= clock.now() - datetime.timedelta(hours=1),
                UserSession.id.not_in(select(RefreshToken.session_id)),
            )
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
