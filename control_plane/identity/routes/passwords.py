"""HTTP of choosing a password: by the present one, or by a token that was mailed."""

from typing import Any

from flask.views import MethodView

from control_plane.core.api import Blueprint, database, session, settings
from control_plane.core.auth import current_actor
from control_plane.identity import permissions
from control_plane.identity.models import Purpose
from control_plane.identity.routes import request
from control_plane.identity.schemas.auth import (
    MailedTokenSchema,
    PasswordChangeSchema,
    PasswordResetSchema,
)
from control_plane.identity.service import mailed, passwords, sign_in, users

blueprint = Blueprint("passwords", __name__, url_prefix="/auth", description="Choosing a password.")


@blueprint.route("/password")
class OwnPassword(MethodView):
    """The password of the user himself."""

    @blueprint.require(permissions.SELF)
    @blueprint.arguments(PasswordChangeSchema)
    @blueprint.response(204)
    def post(self, values: dict[str, Any]) -> None:
        """Change the own password; all sign-ins end."""
        user = users.get_user(session(), current_actor().user_id)
        session().rollback()
        sign_in.check_password(
            database(),
            request.attempts(),
            user.username,
            values["current_password"],
            request.origin().network,
        )
        new = passwords.hash_password(values["new_password"])
        users.change_password(session(), current_actor().user_id, new)


@blueprint.route("/password-reset")
class PasswordReset(MethodView):
    """What to do about a forgotten password."""

    @blueprint.public
    @blueprint.arguments(PasswordResetSchema)
    @blueprint.response(204)
    def post(self, values: dict[str, Any]) -> None:
        """Ask for a mail by which another password can be chosen.

        The answer does not tell whether there is such a user.
        """
        mailed.request_reset(
            session(), settings(), request.attempts(), request.origin().network, **values
        )


@blueprint.route("/password-reset/confirm")
class PasswordResetConfirmation(MethodView):
    """The choice of another password."""

    @blueprint.public
    @blueprint.arguments(MailedTokenSchema)
    @blueprint.response(204)
    def post(self, values: dict[str, Any]) -> None:
        """Choose another password by the token of a mail; all sign-ins end."""
        _choose(Purpose.FORGOTTEN, **values)


@blueprint.route("/invitation/accept")
class InvitationAcceptance(MethodView):
    """The acceptance of an invitation."""

    @blueprint.public
    @blueprint.arguments(MailedTokenSchema)
    @blueprint.response(204)
    def post(self, values: dict[str, Any]) -> None:
        """Accept an invitation by the token of its mail, and choose the password."""
        _choose(Purpose.INVITATION, **values)


def _choose(purpose: Purpose, *, token: str, new_password: str) -> None:
    # Looked at before the costly hash, and again after it: the session ends in between.
    mailed.find_token(session(), token, purpose)
    session().rollback()
    password_hash = passwords.hash_password(new_password)
    found = mailed.find_token(session(), token, purpose)
    mailed.choose_password(session(), found, password_hash, request.origin().network)
