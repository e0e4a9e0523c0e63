"""Identity (用户认证): users, their sign-ins and rights, and API keys."""

from control_plane.core.auth import Role
from control_plane.identity.models import APIKey, User
from control_plane.identity.service.api_keys import create_api_key, note_key_use
from control_plane.identity.service.passwords import hash_password
from control_plane.identity.service.users import create_first_operator, create_user

__all__ = [
    "APIKey",
    "Role",
    "User",
    "create_api_key",
    "create_first_operator",
    "create_user",
    "hash_password",
    "note_key_use",
]
