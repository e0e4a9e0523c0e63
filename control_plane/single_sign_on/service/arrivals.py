"""Who somebody is here whom a provider vouches for, and how his browser gets its tokens."""

import datetime
import secrets
import uuid
from hashlib import sha256

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane import identity
from control_plane.core import clock, tenancy
from control_plane.core.database import Database
from control_plane.core.errors import Conflict, Forbidden, NotFound, Unauthorized
from control_plane.core.events import emit
from control_plane.core.plugins import JobContext
from control_plane.identity import User
from control_plane.single_sign_on.events import UserLinked
from control_plane.single_sign_on.models import ExternalIdentity, IdentityProvider, SignInCode
from control_plane.single_sign_on.service import providers
from control_plane.single_sign_on.service.conversation import Person
from control_plane.single_sign_on.service.providers import Party

CODE_LIFETIME = datetime.timedelta(minutes=1)


def receive(database: Database, party: Party, person: Person, state: str) -> str:
    """Return a code for which the browser with this *state* gets the tokens of *person*, once.

    He is a user who was linked, is linked or is made now.

    Raises:
        Forbidden: he may not sign in; the code says why.
        Conflict: the tenant may have no more users.
        NotFound: the provider was deleted meanwhile, or is another one now.
    """
    try:
        return _received(database, party, person, state)
    except (Conflict, IntegrityError):
        # The same person may have come twice at once: now the other one has made him known.
        return _received(database, party, person, state)


def _received(database: Database, party: Party, person: Person, state: str) -> str:
    with database.transaction() as session:
        provider = providers.get_offered(session, party.provider_id)
        if provider.issuer != party.issuer:
            raise NotFound("identity_provider")
        _refuse_other_domains(provider, person)
        known = session.get(ExternalIdentity, (provider.id, person.subject))
        if known is not None:
            user = identity.get_user(session, known.user_id)
        else:
            user = _first_time(session, provider, person)
        identity.admit(session, user)
        code = secrets.token_urlsafe(32)
        session.add(
            SignInCode(
                digest=_digest(code, state),
                user_id=user.id,
                expires_at=clock.now() + CODE_LIFETIME,
            )
        )
        return code


def take_code(session: Session, code: str, state: str) -> uuid.UUID:
    """Return the id of the user whom a code was given for; it is used up.

    Raises:
        Unauthorized: it was used, is over, or was not given to this browser.
        Forbidden: he was locked meanwhile.
    """
    found = session.scalar(
        select(SignInCode).where(SignInCode.digest == _digest(code, state)).with_for_update()
    )
    if found is None or found.expires_at <= clock.now():
        raise Unauthorized("invalid_sign_in_code", "This code is not good any more.")
    session.delete(found)
    session.flush()
    user = identity.get_user(session, found.user_id)
    identity.admit(session, user)
    return user.id


def forget_codes(context: JobContext) -> None:
    """Delete codes that nobody came for, as the worker's job."""
    with tenancy.platform_context(), context.database.transaction() as session:
        session.execute(delete(SignInCode).where(SignInCode.expires_at <= clock.now()))


def _first_time(session: Session, provider: IdentityProvider, person: Person) -> User:
    """Link a user of the same tenant who has the same address, or make one."""
    if person.email is None:
        raise Forbidden("The provider has not verified an e-mail address.", code="email_unverified")
    users = identity.find_users_by_email(session, person.email, provider.tenant_id)
    if len(users) > 1:
        raise Forbidden("Several users have this e-mail address.", code="email_ambiguous")
    if users:
        user = users[0]
    elif provider.default_role is not None:
        user = identity.create_arrival(
            session,
            email=person.email,
            role=provider.default_role,
            tenant_id=provider.tenant_id,
            mark=_mark(provider, person),
        )
    else:
        raise Forbidden("There is no user with this e-mail address.", code="user_unknown")
    session.add(ExternalIdentity(provider_id=provider.id, subject=person.subject, user_id=user.id))
    session.flush()
    emit(
        session,
        UserLinked(provider_id=provider.id, tenant_id=provider.tenant_id, user_id=user.id),
    )
    return user


def _refuse_other_domains(provider: IdentityProvider, person: Person) -> None:
    if not provider.allowed_email_domains:
        return
    domain = (person.email or "").rpartition("@")[2].lower()
    if domain not in provider.allowed_email_domains:
        detail = "Addresses of this domain may not sign in here."
        raise Forbidden(detail, code="email_not_allowed")


def _mark(provider: IdentityProvider, person: Person) -> str:
    """Return what tells this person's name from the same one of somebody else."""
    return sha256(f"{provider.id}|{person.subject}".encode()).hexdigest()[:8]


def _digest(code: str, state: str) -> str:
    return sha256(f"{state}|{code}".encode()).hexdigest()
