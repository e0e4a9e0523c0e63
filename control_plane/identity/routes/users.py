"""HTTP of users."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session, settings
from control_plane.core.conditions import matched
from control_plane.core.merge_patch import merged
from control_plane.core.pagination import Page
from control_plane.identity import permissions
from control_plane.identity.models import User
from control_plane.identity.schemas.users import (
    UserCreateSchema,
    UserQuerySchema,
    UserSchema,
    UserUpdateSchema,
)
from control_plane.identity.service import mailed, passwords, users

blueprint = Blueprint("users", __name__, url_prefix="/users", description="Who may sign in.")


@blueprint.route("")
class Users(MethodView):
    """All users."""

    @blueprint.require(permissions.USERS_READ)
    @blueprint.response(200, UserSchema(many=True))
    @blueprint.paged(UserQuerySchema)
    def get(self, **query: Any) -> Page[User]:
        """List users."""
        return users.list_users(session(), **query)

    @blueprint.require(permissions.USERS_WRITE)
    @blueprint.arguments(UserCreateSchema)
    @blueprint.response(201, UserSchema)
    def post(self, values: dict[str, Any]) -> User:
        """Create a user; without a password he is invited by mail to choose one."""
        if "password" in values:
            return users.create_user(session(), **_hashed(values))
        mailed.refuse_impossible(settings(), values["email"])
        user = users.create_user(session(), **values)
        mailed.invite(session(), settings(), user)
        return user


@blueprint.route("/<uuid:user_id>")
class UserById(MethodView):
    """One user."""

    @blueprint.require(permissions.USERS_READ)
    @blueprint.response(200, UserSchema)
    def get(self, user_id: uuid.UUID) -> User:
        """Show a user."""
        return users.get_user(session(), user_id)

    @blueprint.require(permissions.USERS_WRITE)
    @blueprint.arguments(UserUpdateSchema)
    @blueprint.response(200, UserSchema)
    def put(self, values: dict[str, Any], user_id: uuid.UUID) -> User:
        """Replace what is known of a user; without `password` the present one stays."""
        matched(users.get_user(session(), user_id))
        return _update(user_id, values)

    @blueprint.require(permissions.USERS_WRITE)
    @blueprint.merge_patch(UserUpdateSchema)
    @blueprint.response(200, UserSchema)
    def patch(self, patch: dict[str, Any], user_id: uuid.UUID) -> User:
        """Change some of what is known of a user."""
        user = matched(users.get_user(session(), user_id))
        return _update(user_id, merged(UserUpdateSchema, user, patch))

    @blueprint.require(permissions.USERS_WRITE)
    @blueprint.response(204)
    def delete(self, user_id: uuid.UUID) -> None:
        """Delete a user."""
        users.delete_user(session(), matched(users.get_user(session(), user_id)))


@blueprint.route("/<uuid:user_id>/invitation")
class UserInvitation(MethodView):
    """The invitation of a user."""

    @blueprint.require(permissions.USERS_WRITE)
    @blueprint.response(200, UserSchema)
    def post(self, user_id: uuid.UUID) -> User:
        """Send a user who has not chosen a password yet another invitation."""
        user = users.get_user(session(), user_id)
        mailed.invite(session(), settings(), user)
        return user


@blueprint.route("/<uuid:user_id>/lock")
class UserLock(MethodView):
    """The lock of a user."""

    @blueprint.require(permissions.USERS_WRITE)
    @blueprint.response(200, UserSchema)
    def post(self, user_id: uuid.UUID) -> User:
        """Lock a user; his sign-ins end."""
        return users.lock_user(session(), users.get_user(session(), user_id))


@blueprint.route("/<uuid:user_id>/unlock")
class UserUnlock(MethodView):
    """The end of a user's lock."""

    @blueprint.require(permissions.USERS_WRITE)
    @blueprint.response(200, UserSchema)
    def post(self, user_id: uuid.UUID) -> User:
        """Let a locked user sign in again."""
        return users.unlock_user(session(), users.get_user(session(), user_id))


def _update(user_id: uuid.UUID, values: dict[str, Any]) -> User:
    """Change the user, who may have been changed by another request while a password was hashed."""
    values = _hashed(values)
    return users.update_user(session(), matched(users.get_user(session(), user_id)), **values)


def _hashed(values: dict[str, Any]) -> dict[str, Any]:
    """Return *values* with the password's hash in its place.

    Ends the read that authenticated the request: hashing takes long, and on SQLite the session
    would meanwhile keep all others from writing.
    """
    if "password" not in values:
        return values
    session().rollback()
    rest = {name: value for name, value in values.items() if name != "password"}
    return {**rest, "password_hash": passwords.hash_password(values["password"])}
