"""The verbs of users who prove who they are elsewhere, at an identity provider."""

import uuid
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from control_plane.core.errors import Forbidden
from control_plane.core.events import emit
from control_plane.identity import names
from control_plane.identity.events import UserUpdated
from control_plane.identity.models import User, UserStatus
from control_plane.identity.service import users


def find_users_by_email(
    session: Session, email: str, tenant_id: uuid.UUID | None
) -> Sequence[User]:
    """Return the users of *tenant_id*, None for the platform, who have this address."""
    of_tenant = User.tenant_id.is_(None) if tenant_id is None else User.tenant_id == tenant_id
    query = select(User).where(of_tenant, func.lower(User.email) == email.lower())
    return session.scalars(query).all()


def create_arrival(
    session: Session, *, email: str, role: str, tenant_id: uuid.UUID | None, mark: str
) -> User:
    """Create a user who proved that he has the address *email*; he is named by it.

    Where the name is taken, as by the same person in another tenant, *mark* is added to it.

    Raises:
        Conflict: the tenant may have no more users.
        Invalid: there is no such role any more.
    """
    username = email
    if not names.is_usable(username) or users.is_taken(session, username):
        username = f"{email[: names.MAXIMUM_LENGTH - len(mark) - 1]}~{mark}"
    return users.create_user(
        session, username=username, role=role, tenant_id=tenant_id, email=email
    )


def admit(session: Session, user: User) -> None:
    """Let a user in who proved elsewhere who he is: an invited one needs no password for it.

    Raises:
        Forbidden: he is locked.
    """
    if user.status is UserStatus.LOCKED:
        raise Forbidden("This user is locked.", code="user_locked")
    if user.status is UserStatus.INACTIVE:
        user.status = UserStatus.ACTIVE
        session.flush()
        emit(session, UserUpdated(user_id=user.id, tenant_id=user.tenant_id))
