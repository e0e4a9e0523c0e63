"""The verbs of mailed tokens: invitations, and passwords that were forgotten."""

import contextlib
import datetime
import secrets
from collections.abc import Sequence
from hashlib import sha256

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from control_plane.core import clock, mail, occasions, tenancy
from control_plane.core.errors import Conflict, Invalid
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.plugins import JobContext
from control_plane.core.settings import Settings
from control_plane.identity import names
from control_plane.identity.events import PasswordChosen, PasswordResetMailed, UserInvited
from control_plane.identity.models import (
    MailedToken,
    PasswordResetRequest,
    Purpose,
    User,
    UserStatus,
)
from control_plane.identity.service import sign_in, users
from control_plane.identity.service.rights import refuse_stronger
from control_plane.identity.service.throttle import Limit, Throttle, TooManyAttempts

LIFETIMES = {
    Purpose.INVITATION: datetime.timedelta(hours=72),
    Purpose.FORGOTTEN: datetime.timedelta(hours=1),
}
WAITS_OF_MAILS = Limit("reset", (60, 300, 900, 3600))
"""What one name or address must wait for the next mail; what comes too early sends none."""

WAITS_OF_ASKING = Limit("reset-network", (*[0] * 10, 10, 30, 60))
"""What one network must wait to ask for the next mail."""

_MOST_AT_ONCE = 100
_MOST_OF_ADDRESS = 10


def refuse_impossible(settings: Settings, email: str | None) -> None:
    """Refuse an invitation that cannot be sent.

    Raises:
        Invalid: there is no address to send it to, or nothing to send it with.
    """
    if settings.mail.host is None:
        detail = "Needed: without mail.host in the settings nobody can be invited by mail."
        raise Invalid.field("password", detail)
    if email is None:
        raise Invalid.field("email", "Needed: without a password an invitation is sent there.")


def invite(session: Session, settings: Settings, user: User) -> None:
    """Mail *user* a token by which he chooses his first password.

    Raises:
        Conflict: he has chosen one already, has no address, or mail is not set up.
        Forbidden: he has rights that the actor does not have.
    """
    refuse_stronger(user)
    _refuse_without_mail(settings)
    if user.status is not UserStatus.INACTIVE:
        raise Conflict("already_accepted", "This user has a password: nothing to invite him to.")
    if user.email is None:
        raise Conflict("no_email", "This user has no e-mail address to be invited at.")
    _mail_token(session, settings, user, Purpose.INVITATION)
    emit(session, UserInvited(user_id=user.id, tenant_id=user.tenant_id))


def request_reset(
    session: Session,
    settings: Settings,
    attempts: Throttle,
    network: str,
    *,
    username: str | None = None,
    email: str | None = None,
) -> None:
    """Note that somebody has forgotten his password; the worker sends the mail.

    Whether there is such a user makes no difference here, neither in the answer nor in time.

    Raises:
        Conflict: mail is not set up.
        TooManyAttempts: the network asked too often.
    """
    _refuse_without_mail(settings)
    attempts.take(WAITS_OF_ASKING, network)
    key = None if username is None else names.name_key(username)[: names.MAXIMUM_LENGTH]
    with contextlib.suppress(TooManyAttempts):
        attempts.take(WAITS_OF_MAILS, f"{key}|{(email or '').lower()}")
        session.add(PasswordResetRequest(id=new_id(), username_key=key, email=email))
        session.flush()


def answer_requests(context: JobContext) -> None:
    """Mail those who have forgotten their password a token, as the worker's job."""
    with tenancy.platform_context(), context.database.transaction() as session:
        query = select(PasswordResetRequest).order_by(PasswordResetRequest.id).limit(_MOST_AT_ONCE)
        for request in session.scalars(query).all():
            for user in _meant(session, request):
                _mail_token(session, context.settings, user, Purpose.FORGOTTEN)
                emit(session, PasswordResetMailed(user_id=user.id, tenant_id=user.tenant_id))
            session.delete(request)


def find_token(session: Session, token: str, purpose: Purpose) -> MailedToken:
    """Return a mailed token that is still good; nobody else can use it until the transaction ends.

    Raises:
        Invalid: it is of another kind, was used, replaced or is over.
    """
    found = session.scalar(
        select(MailedToken)
        .where(
            MailedToken.digest == _digest(token),
            MailedToken.purpose == purpose,
            MailedToken.expires_at > clock.now(),
        )
        .with_for_update()
    )
    if found is None:
        raise Invalid.field("token", "Not good any more: it was used or replaced, or is too old.")
    return found


def choose_password(session: Session, token: MailedToken, password_hash: str, network: str) -> None:
    """Give the user of *token* the password he chose, and end his sign-ins.

    Who reads the user's mail is known here from now on, so strangers who keep guessing his password
    cannot keep him out.
    """
    user = users.get_user(session, token.user_id)
    occasions.prove(user.id)
    user.password_hash = password_hash
    if user.status is UserStatus.INACTIVE:
        user.status = UserStatus.ACTIVE
    users.forget_mailed_tokens(session, user)
    users.end_sessions(session, user)
    sign_in.become_familiar(session, user.id, network)
    session.flush()
    emit(session, PasswordChosen(user_id=user.id, tenant_id=user.tenant_id))


def _mail_token(session: Session, settings: Settings, user: User, purpose: Purpose) -> None:
    """Mail *user* a new token in place of the one he may have."""
    session.execute(
        delete(MailedToken).where(MailedToken.user_id == user.id, MailedToken.purpose == purpose)
    )
    token = secrets.token_urlsafe(32)
    expires_at = clock.now() + LIFETIMES[purpose]
    session.add(
        MailedToken(
            digest=_digest(token),
            user_id=user.id,
            purpose=purpose,
            expires_at=expires_at,
        )
    )
    page = f"{settings.public_url}/account/{purpose.value}"
    message = mail.render(
        purpose.value,
        str(user.email),
        username=user.username,
        link=f"{page}#{token}",
        expires_at=expires_at,
    )
    mail.queue(session, message, worthless_after=expires_at)


def _meant(session: Session, request: PasswordResetRequest) -> Sequence[User]:
    """Return the users whom *request* means: an address can be several users'."""
    query = select(User).where(User.email.is_not(None), User.status == UserStatus.ACTIVE)
    if request.username_key is not None:
        query = query.where(User.username_key == request.username_key)
    else:
        query = query.where(func.lower(User.email) == str(request.email).lower())
    return session.scalars(query.order_by(User.id).limit(_MOST_OF_ADDRESS)).all()


def _refuse_without_mail(settings: Settings) -> None:
    if settings.mail.host is None:
        detail = "This installation sends no mail: mail.host is not set."
        raise Conflict("mail_not_configured", detail)


def _digest(token: str) -> str:
    return sha256(token.encode("utf-8")).hexdigest()
