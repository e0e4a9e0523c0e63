"""The verbs of users."""

import uuid
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core import clock, pagination, tenancy
from control_plane.core.auth import Role, current_actor
from control_plane.core.errors import Conflict, Invalid, NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.pagination import Page
from control_plane.identity.events import UserCreated, UserDeleted, UserUpdated
from control_plane.identity.models import User, UserSession, UserStatus
from control_plane.identity.service import passwords

FIRST_OPERATOR = "operator"


def create_user(
    session: Session,
    *,
    username: str,
    password_hash: str,
    role: Role,
    tenant_id: uuid.UUID | None = None,
    email: str | None = None,
) -> User:
    """Create a user of a tenant, or of the platform; a tenant's user creates in his own tenant.

    Raises:
        NotFound: the tenant does not exist, or is not the current scope's.
        Conflict: the name is taken, or the tenant may have no more users.
    """
    tenant_id = tenant_id or tenancy.current_tenant_id()
    if tenant_id is not None:
        _make_room(session, tenant_id)
    _refuse_taken(session, username)
    user = User(
        id=new_id(),
        tenant_id=tenant_id,
        username=username,
        password_hash=password_hash,
        role=role,
        email=email,
    )
    session.add(user)
    session.flush()
    emit(session, UserCreated(user_id=user.id, tenant_id=user.tenant_id))
    return user


def create_first_operator(session: Session) -> str | None:
    """Create the platform's administrator `operator` in an empty installation.

    Returns:
        His password, which is known only now; None when the platform has users already.
    """
    with tenancy.platform_context():
        if session.scalar(select(User.id).where(User.tenant_id.is_(None)).limit(1)) is not None:
            return None
        password = passwords.generate_password()
        create_user(
            session,
            username=FIRST_OPERATOR,
            password_hash=passwords.hash_password(password),
            role=Role.ADMIN,
        )
        return password


def get_user(session: Session, user_id: uuid.UUID) -> User:
    """Return a user that the current scope may see.

    Raises:
        NotFound: there is none.
    """
    user = session.scalar(select(User).where(User.id == user_id))
    if user is None:
        raise NotFound("user")
    return user


def find_user(session: Session, username: str) -> User | None:
    """Return the user who signs in as *username*."""
    return session.scalar(select(User).where(User.username == username))


def list_users(
    session: Session, *, page: int, page_size: int, tenant_id: uuid.UUID | None = None
) -> Page[User]:
    """Return the users that the current scope may see, oldest first."""
    query = select(User).order_by(User.creation_date, User.id)
    if tenant_id is not None:
        query = query.where(User.tenant_id == tenants.get_tenant(session, tenant_id).id)
    return pagination.page(session, query, page, page_size)


def update_user(session: Session, user_id: uuid.UUID, **fields: Any) -> User:
    """Change a user. A new password, role or status ends his sign-ins.

    Raises:
        NotFound: there is no such user.
        Conflict: the name is taken.
        Invalid: he would change his own role or, without the present one, his own password.
    """
    user = get_user(session, user_id)
    username = fields.get("username", user.username)
    if username != user.username:
        _refuse_taken(session, username)
    changed = {name for name, value in fields.items() if value != getattr(user, name)}
    for name in sorted(changed & {"role", "password_hash"}):
        _refuse_self(user, name.removesuffix("_hash"))
    for name, value in fields.items():
        setattr(user, name, value)
    if changed & {"password_hash", "role", "status"}:
        end_sessions(session, user)
    session.flush()
    emit(session, UserUpdated(user_id=user.id, tenant_id=user.tenant_id))
    return user


def change_password(session: Session, user_id: uuid.UUID, password_hash: str) -> None:
    """Give a user, who has proved the present password, a new one; his sign-ins end."""
    user = get_user(session, user_id)
    user.password_hash = password_hash
    end_sessions(session, user)
    session.flush()
    emit(session, UserUpdated(user_id=user.id, tenant_id=user.tenant_id))


def set_status(session: Session, user_id: uuid.UUID, status: UserStatus) -> User:
    """Lock or unlock a user."""
    user = get_user(session, user_id)
    if user.status is status:
        return user
    _refuse_self(user, "status")
    return update_user(session, user_id, status=status)


def delete_user(session: Session, user_id: uuid.UUID) -> None:
    """Delete a user and end his sign-ins."""
    user = get_user(session, user_id)
    _refuse_self(user, "id")
    session.delete(user)
    session.flush()
    emit(session, UserDeleted(user_id=user.id, tenant_id=user.tenant_id))


def delete_tenant_users(session: Session, tenant_id: uuid.UUID) -> None:
    """Delete the users of a tenant that is being deleted."""
    session.execute(delete(User).where(User.tenant_id == tenant_id))


def end_sessions(session: Session, user: User) -> None:
    """End all sign-ins of *user*."""
    session.execute(
        update(UserSession)
        .where(UserSession.user_id == user.id, UserSession.ended_at.is_(None))
        .values(ended_at=clock.now())
    )


def _make_room(session: Session, tenant_id: uuid.UUID) -> None:
    """Refuse another user where the tenant may have no more."""
    tenant = tenants.get_tenant(session, tenant_id, lock=True)
    counted = select(User.id).where(User.tenant_id == tenant.id)
    if tenant.max_users is not None and len(session.scalars(counted).all()) >= tenant.max_users:
        raise Conflict("user_limit_reached", f"The tenant may have {tenant.max_users} users.")


def _refuse_taken(session: Session, username: str) -> None:
    # Names are unique in the whole installation, because one signs in by the name alone.
    with tenancy.platform_context():
        if session.scalar(select(User.id).where(User.username == username)) is not None:
            raise Conflict("username_taken", "There is a user of this name.")


def _refuse_self(user: User, field: str) -> None:
    """Keep an administrator from shutting himself out, and a stolen token from staying."""
    if user.id == current_actor().user_id:
        raise Invalid.field(field, "This cannot be changed here by the user himself.")
