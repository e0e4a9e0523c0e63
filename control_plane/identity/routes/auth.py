"""HTTP of signing in and out."""

import uuid
from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, database, session
from control_plane.core.auth import current_actor
from control_plane.core.conditions import matched
from control_plane.core.errors import Unauthorized
from control_plane.core.pagination import Page
from control_plane.identity import permissions
from control_plane.identity.models import User, UserSession
from control_plane.identity.routes import request, signed_in
from control_plane.identity.schemas.auth import (
    LoginSchema,
    RefreshSchema,
    SignInQuerySchema,
    SignInSchema,
    TokensSchema,
)
from control_plane.identity.schemas.users import UserSchema
from control_plane.identity.service import sessions, sign_in, users

blueprint = Blueprint("auth", __name__, url_prefix="/auth", description="Signing in and out.")


@blueprint.route("/login")
class Login(MethodView):
    """The start of a sign-in."""

    @blueprint.public
    @blueprint.arguments(LoginSchema)
    @blueprint.response(200, TokensSchema)
    def post(self, values: dict[str, Any]) -> dict[str, Any]:
        """Sign in with a username and a password.

        After some failures the next attempt has to wait, as `Retry-After` says.
        """
        user_id = sign_in.check_password(
            database(), request.attempts(), network=request.origin().network, **values
        )
        return signed_in.open_sign_in(user_id)


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
            renewed = sessions.renew_session(
                transaction, values["refresh_token"], signed_in.lifetime()
            )
        if renewed is None:
            raise Unauthorized("refresh_token_reused", "This sign-in was ended; sign in again.")
        return signed_in.tokens_of(renewed)


@blueprint.route("/logout")
class Logout(MethodView):
    """The end of a sign-in."""

    @blueprint.require(permissions.SELF)
    @blueprint.response(204)
    def post(self) -> None:
        """Sign out here; none of this sign-in's tokens is good any more."""
        actor = current_actor()
        opened = sessions.get_session(session(), actor.user_id, actor.sign_in_id)
        sessions.end_session(session(), opened)


@blueprint.route("/logout-all")
class LogoutEverywhere(MethodView):
    """The end of all sign-ins."""

    @blueprint.require(permissions.SELF)
    @blueprint.response(204)
    def post(self) -> None:
        """Sign out everywhere; none of the user's tokens is good any more."""
        users.end_sessions(session(), users.get_user(session(), current_actor().user_id))


@blueprint.route("/me")
class Me(MethodView):
    """The user himself."""

    @blueprint.require(permissions.SELF)
    @blueprint.response(200, UserSchema)
    def get(self) -> User:
        """Show who is signed in, and what he may do."""
        return users.get_user(session(), current_actor().user_id)


@blueprint.route("/sign-ins")
class SignIns(MethodView):
    """The user's own sign-ins."""

    @blueprint.require(permissions.SELF)
    @blueprint.response(200, SignInSchema(many=True))
    @blueprint.paged(SignInQuerySchema)
    def get(self, **query: Any) -> Page[UserSession]:
        """List the own sign-ins."""
        return sessions.list_sessions(session(), current_actor().user_id, **query)


@blueprint.route("/sign-ins/<uuid:sign_in_id>")
class SignInById(MethodView):
    """One of the user's own sign-ins."""

    @blueprint.require(permissions.SELF)
    @blueprint.response(200, SignInSchema)
    def get(self, sign_in_id: uuid.UUID) -> UserSession:
        """Show an own sign-in."""
        return sessions.get_session(session(), current_actor().user_id, sign_in_id)

    @blueprint.require(permissions.SELF)
    @blueprint.response(204)
    def delete(self, sign_in_id: uuid.UUID) -> None:
        """End an own sign-in; none of its tokens is good any more."""
        opened = sessions.get_session(session(), current_actor().user_id, sign_in_id)
        sessions.end_session(session(), matched(opened))
