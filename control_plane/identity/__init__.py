"""Identity (用户认证): users, their sign-ins and rights, and API keys."""

from control_plane.core.auth import Role
from control_plane.identity.models import APIKey, RoleHolder, User
from control_plane.identity.permissions import SELF, of_role
from control_plane.identity.routes.request import attempts, origin
from control_plane.identity.routes.signed_in import open_sign_in
from control_plane.identity.schemas.auth import TokensSchema
from control_plane.identity.service.api_keys import create_api_key, note_key_use
from control_plane.identity.service.arrivals import admit, create_arrival, find_users_by_email
from control_plane.identity.service.passwords import hash_password
from control_plane.identity.service.rights import refuse_beyond, refuse_stronger
from control_plane.identity.service.roles import give_role
from control_plane.identity.service.sign_in import WAITS_OF_ACCOUNT
from control_plane.identity.service.throttle import Limit
from control_plane.identity.service.users import create_first_operator, create_user, get_user

__all__ = [
    "SELF",
    "WAITS_OF_ACCOUNT",
    "APIKey",
    "Limit",
    "Role",
    "RoleHolder",
    "TokensSchema",
    "User",
    "admit",
    "attempts",
    "create_api_key",
    "create_arrival",
    "create_first_operator",
    "create_user",
    "find_users_by_email",
    "get_user",
    "give_role",
    "hash_password",
    "note_key_use",
    "of_role",
    "open_sign_in",
    "origin",
    "refuse_beyond",
    "refuse_stronger",
]
