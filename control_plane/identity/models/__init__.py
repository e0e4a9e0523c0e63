"""Tables of the room identity."""

from control_plane.identity.models.api_keys import APIKey, NewAPIKey
from control_plane.identity.models.sessions import RefreshToken, UserSession
from control_plane.identity.models.users import User, UserStatus

__all__ = ["APIKey", "NewAPIKey", "RefreshToken", "User", "UserSession", "UserStatus"]
