"""HTTP of the room identity."""

from control_plane.identity.routes import api_keys, auth, passwords, roles, users

BLUEPRINTS = (
    auth.blueprint,
    passwords.blueprint,
    users.blueprint,
    roles.blueprint,
    roles.permissions_blueprint,
    api_keys.blueprint,
)
