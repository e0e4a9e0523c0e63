"""What a sign-in begins with, however somebody has proved who he is: its tokens."""

import datetime
import uuid
from typing import Any

from control_plane.core.api import session, settings
from control_plane.identity import tokens
from control_plane.identity.routes import request
from control_plane.identity.service import sessions
from control_plane.identity.service.sessions import SignIn


def open_sign_in(user_id: uuid.UUID) -> dict[str, Any]:
    """Sign in the user who sends the present request; return what `TokensSchema` shows."""
    return tokens_of(sessions.open_session(session(), user_id, lifetime(), request.origin()))


def tokens_of(opened: SignIn) -> dict[str, Any]:
    """Return the tokens of a sign-in."""
    return {
        "access_token": tokens.access_token(opened),
        "refresh_token": opened.refresh_token,
        "expires_in": settings().security.access_token_minutes * 60,
    }


def lifetime() -> datetime.timedelta:
    """Return how long a sign-in lasts that is not renewed."""
    return datetime.timedelta(days=settings().security.refresh_token_days)
