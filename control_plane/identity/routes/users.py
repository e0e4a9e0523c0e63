"""HTTP of users."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, session
from control_plane.core.pagination import Page
from control_plane.identity import permissions
from control_plane.identity.models import User, UserStatus
from control_plane.identity.schemas.users import (
    UserCreateSchema,
    UserQuerySchema,
    UserSchema,
    UserUpdateSchema,
)
from control_plane.identity.service import passwords, users

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
        """Create a user."""
        return users.create_user(session(), **_hashed(values))


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
        """Change a user; a field that is not sent keeps its value."""
        return users.update_user(session(), user_id, **_hashed(values))

    @blueprint.require(permissions.USERS_WRITE)
    @blueprint.response(204)
    def delete(self, user_id: uuid.UUID) -> None:
        """Delete a user."""
        users.delete_user(session(), user_id)


@blueprint.route("/<uuid:user_id>/lock")
class UserLock(MethodView):
    """The lock of a user."""

    @blueprint.require(permissions.USERS_WRITE)
    @blueprint.response(200, UserSchema)
    def post(self, user_id: uuid.UUID) -> User:
        """Lock a user; his sign-ins end."""
        return users.set_status(session(), user_id, UserStatus.LOCKED)


@blueprint.route("/<uuid:user_id>/unlock")
class UserUnlock(MethodView):
    """The end of a user's lock."""

    @blueprint.require(permissions.USERS_WRITE)
    @blueprint.response(200, UserSchema)
    def post(self, user_id: uuid.UUID) -> User:
        """Let a locked user sign in again."""
        return users.set_status(session(), user_id, UserStatus.ACTIVE)


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
