"""The verbs of users."""

import uuid
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane import tenants
from control_plane.core import auth, clock, pagination, tenancy
from control_plane.core.auth import Role
from control_plane.core.errors import Conflict, Invalid, NotFound
from control_plane.core.events import emit
from control_plane.core.ids import new_id
from control_plane.core.pagination import Page
from control_plane.core.schemas import Order
from control_plane.identity import names
from control_plane.identity.events import UserCreated, UserDeleted, UserUpdated
from control_plane.identity.models import CustomRole, MailedToken, User, UserSession, UserStatus
from control_plane.identity.service import passwords, roles
from control_plane.identity.service.rights import refuse_stronger

FIRST_OPERATOR = "operator"


def create_user(
    session: Session,
    *,
    username: str,
    role: str,
    password_hash: str | None = None,
    tenant_id: uuid.UUID | None = None,
    email: str | None = None,
) -> User:
    """Create a user of a tenant, or of the platform; a tenant's user creates in his own tenant.

    Without a password he is inactive until he has chosen one.

    Raises:
        NotFound: the tenant does not exist, or is not the current scope's.
        Conflict: the name is taken, or the tenant may have no more users.
        Invalid: there is no such role for him.
        Forbidden: the role gives what the actor does not have himself.
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
        email=email,
        status=UserStatus.INACTIVE if password_hash is None else UserStatus.ACTIVE,
    )
    roles.give_role(session, user, role)
    session.add(user)
    _flush(session)
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


def list_users(
    session: Session, *, page: int, page_size: int, sort: Order = (), **filters: Any
) -> Page[User]:
    """Return the users that the current scope may see, oldest first by default.

    Filters: `tenant_id`, `role` (a name), `status`, and `q`, a `Search`.
    """
    query = select(User).order_by(*pagination.ordering(User, sort))
    wanted = {name: value for name, value in filters.items() if value is not None}
    if "tenant_id" in wanted:
        query = query.where(User.tenant_id == tenants.get_tenant(session, wanted["tenant_id"]).id)
    if "status" in wanted:
        query = query.where(User.status == wanted["status"])
    if "role" in wanted:
        query = query.where(_has_role(wanted["role"]))
    if "q" in wanted:
        query = query.where(pagination.matching(User, wanted["q"]))
    return pagination.page(session, query, page, page_size)


def update_user(session: Session, user: User, **fields: Any) -> User:
    """Change a user. A new password or status ends his sign-ins; a new role acts at once.

    Raises:
        Conflict: the name is taken, or the platform would be left without an administrator.
        Invalid: there is no such role for him, or he would change his own role or, without the
            present one, his own password.
        Forbidden: he has, or would have, rights that the actor does not have.
    """
    refuse_stronger(user)
    if names.name_key(fields.get("username", user.username)) != user.username_key:
        _refuse_taken(session, fields["username"])
    changed = {name for name, value in fields.items() if value != getattr(user, name)}
    for name in sorted(changed & {"role", "password_hash"}):
        _refuse_self(user, name.removesuffix("_hash"))
    if "role" in changed:
        _keep_an_administrator(session, user)
        roles.give_role(session, user, fields["role"])
    for name in changed - {"role"}:
        setattr(user, name, fields[name])
    if "password_hash" in changed and user.status is UserStatus.INACTIVE:
        user.status = UserStatus.ACTIVE
    if changed & {"password_hash", "email"}:
        forget_mailed_tokens(session, user)
    if "password_hash" in changed:
        end_sessions(session, user)
    _flush(session)
    emit(session, UserUpdated(user_id=user.id, tenant_id=user.tenant_id))
    return user


def change_password(session: Session, user_id: uuid.UUID, password_hash: str) -> None:
    """Give a user, who has proved the present password, a new one; his sign-ins end."""
    user = get_user(session, user_id)
    user.password_hash = password_hash
    forget_mailed_tokens(session, user)
    end_sessions(session, user)
    session.flush()
    emit(session, UserUpdated(user_id=user.id, tenant_id=user.tenant_id))


def lock_user(session: Session, user: User) -> User:
    """Keep a user out; his sign-ins end.

    Raises:
        Conflict: the platform would be left without an administrator.
        Invalid: he would lock himself.
        Forbidden: he has rights that the actor does not have.
    """
    return _set_status(session, user, UserStatus.LOCKED)


def unlock_user(session: Session, user: User) -> User:
    """Let a locked user sign in again, if he had chosen a password."""
    if user.status is not UserStatus.LOCKED:
        return user
    has_password = user.password_hash is not None
    return _set_status(session, user, UserStatus.ACTIVE if has_password else UserStatus.INACTIVE)


def delete_user(session: Session, user: User) -> None:
    """Delete a user and end his sign-ins.

    Raises:
        Conflict: the platform would be left without an administrator.
        Invalid: he would delete himself.
        Forbidden: he has rights that the actor does not have.
    """
    refuse_stronger(user)
    _refuse_self(user, "id")
    _keep_an_administrator(session, user)
    session.delete(user)
    session.flush()
    emit(session, UserDeleted(user_id=user.id, tenant_id=user.tenant_id))


def delete_tenant_users(session: Session, tenant_id: uuid.UUID, limit: int) -> int:
    """Delete up to *limit* users of a tenant that is being purged; return how many."""
    ids = session.scalars(select(User.id).where(User.tenant_id == tenant_id).limit(limit)).all()
    session.execute(delete(User).where(User.id.in_(ids)))
    return len(ids)


def is_taken(session: Session, username: str) -> bool:
    """Tell whether a user anywhere has this name: one signs in by the name alone."""
    with tenancy.platform_context():
        query = select(User.id).where(User.username_key == names.name_key(username))
        return session.scalar(query) is not None


def end_sessions(session: Session, user: User) -> None:
    """End all sign-ins of *user*."""
    session.execute(
        update(UserSession)
        .where(UserSession.user_id == user.id, UserSession.ended_at.is_(None))
        .values(ended_at=clock.now(), version=UserSession.version + 1)
    )


def forget_mailed_tokens(session: Session, user: User) -> None:
    """Make what was mailed to *user* worthless."""
    session.execute(delete(MailedToken).where(MailedToken.user_id == user.id))


def _set_status(session: Session, user: User, status: UserStatus) -> User:
    if user.status is status:
        return user
    refuse_stronger(user)
    _refuse_self(user, "status")
    _keep_an_administrator(session, user)
    user.status = status
    end_sessions(session, user)
    session.flush()
    emit(session, UserUpdated(user_id=user.id, tenant_id=user.tenant_id))
    return user


def _has_role(name: str) -> Any:
    if name in {each.value for each in Role}:
        return User.built_in_role == Role(name)
    return User.custom_role.has(CustomRole.name == name)


def _make_room(session: Session, tenant_id: uuid.UUID) -> None:
    """Refuse another user where the tenant may have no more."""
    tenant = tenants.get_tenant(session, tenant_id, lock=True)
    counted = select(User.id).where(User.tenant_id == tenant.id)
    if tenant.max_users is not None and len(session.scalars(counted).all()) >= tenant.max_users:
        raise Conflict("user_limit_reached", "The tenant may have no more users.")


def _refuse_taken(session: Session, username: str) -> None:
    if is_taken(session, username):
        raise _taken()


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        if "username_key" in str(error.orig):  # two requests at once: its index lets one pass
            raise _taken() from error
        raise


def _taken() -> Conflict:
    return Conflict("username_taken", "There is a user of this name.")


def _refuse_self(user: User, field: str) -> None:
    """Keep an administrator from shutting himself out, and a stolen token from staying."""
    actor = auth.find_actor()
    if actor is not None and user.id == actor.user_id:
        raise Invalid.field(field, "This cannot be changed here by the user himself.")


def _keep_an_administrator(session: Session, user: User) -> None:
    """Refuse what would leave the platform without an administrator who can sign in.

    The administrators are held until the transaction ends, so that two of them cannot remove each
    other at once.
    """
    administers = (
        User.tenant_id.is_(None),
        User.built_in_role == Role.ADMIN,
        User.status == UserStatus.ACTIVE,
    )
    query = select(User.id).where(*administers).order_by(User.id).with_for_update()
    if session.scalars(query).all() == [user.id]:
        raise Conflict("last_administrator", "He is the last administrator of the platform.")
