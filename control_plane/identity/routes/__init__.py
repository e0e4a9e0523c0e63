"""HTTP of the room identity."""

from control_plane.identity.routes import api_keys, auth, users

BLUEPRINTS = (auth.blueprint, users.blueprint, api_keys.blueprint)
