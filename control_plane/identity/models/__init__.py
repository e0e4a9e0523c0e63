"""Tables of the room identity."""

from control_plane.identity.models.api_keys import APIKey, APIKeySecret
from control_plane.identity.models.roles import CustomRole, RoleHolder
from control_plane.identity.models.sessions import (
    FamiliarNetwork,
    MailedToken,
    PasswordResetRequest,
    Purpose,
    RefreshToken,
    UserSession,
)
from control_plane.identity.models.users import User, UserStatus

__all__ = [
    "APIKey",
    "APIKeySecret",
    "CustomRole",
    "FamiliarNetwork",
    "MailedToken",
    "PasswordResetRequest",
    "Purpose",
    "RefreshToken",
    "RoleHolder",
    "User",
    "UserSession",
    "UserStatus",
]
