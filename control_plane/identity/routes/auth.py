"""HTTP of signing in and out."""

import datetime
from typing import Any

import flask
from flask.views import MethodView

from control_plane.core.api import Blueprint, database, session, settings
from control_plane.core.auth import current_actor
from control_plane.core.errors import Unauthorized
from control_plane.identity import permissions, tokens
from control_plane.identity.schemas.auth import (
    LoginSchema,
    PasswordChangeSchema,
    RefreshSchema,
    TokensSchema,
)
from control_plane.identity.service import passwords, sessions, users
from control_plane.identity.service.sessions import SignIn

blueprint = Blueprint("auth", __name__, url_prefix="/auth", description="Signing in and out.")


@blueprint.route("/login")
class Login(MethodView):
    """The start of a sign-in."""

    @blueprint.public
    @blueprint.arguments(LoginSchema)
    @blueprint.response(200, TokensSchema)
    def post(self, values: dict[str, Any]) -> dict[str, Any]:
        """Sign in with a username and a password."""
        user_id = sessions.check_password(database(), **values)
        return _tokens(sessions.open_session(session(), user_id, _lifetime()))


@blueprint.route("/refresh-token")
class TokenRefresh(MethodView):
    """The renewal of a sign-in."""

    @blueprint.public
    @blueprint.arguments(RefreshSchema)
    @blueprint.response(200, TokensSchema)
    def post(self, values: dict[str, Any]) -> dict[str, Any]:
        """Exchange a refresh token for new tokens; each refresh token is good once."""
        # In a transaction of its own: the end of a stolen sign-in must outlive the error answer.
        with database().transaction() as transaction:
            sign_in = sessions.renew_session(transaction, values["refresh_token"], _lifetime())
        if sign_in is None:
            raise Unauthorized("refresh_token_reused", "This sign-in was ended; sign in again.")
        return _tokens(sign_in)


@blueprint.route("/logout")
class Logout(MethodView):
    """The end of a sign-in."""

    @blueprint.require(permissions.SELF)
    @blueprint.response(204)
    def post(self) -> None:
        """Sign out; none of the sign-in's tokens is good any more."""
        token = flask.request.headers["Authorization"].partition(" ")[2].strip()
        sessions.end_session(session(), tokens.session_id_of(token))


@blueprint.route("/password")
class OwnPassword(MethodView):
    """The password of the user himself."""

    @blueprint.require(permissions.SELF)
    @blueprint.arguments(PasswordChangeSchema)
    @blueprint.response(204)
    def put(self, values: dict[str, Any]) -> None:
        """Change the own password; all sign-ins end."""
        user = users.get_user(session(), current_actor().user_id)
        session().rollback()
        sessions.check_password(database(), user.username, values["current_password"])
        new = passwords.hash_password(values["new_password"])
        users.change_password(session(), current_actor().user_id, new)


def _lifetime() -> datetime.timedelta:
    return datetime.timedelta(days=settings().security.refresh_token_days)


def _tokens(sign_in: SignIn) -> dict[str, Any]:
    return {
        "access_token": tokens.access_token(sign_in),
        "refresh_token": sign_in.refresh_token,
        "expires_in": settings().security.access_token_minutes * 60,
    }
