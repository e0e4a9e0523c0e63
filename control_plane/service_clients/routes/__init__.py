"""HTTP of the room service_clients."""

from control_plane.service_clients.routes import clients, token

BLUEPRINTS = (clients.blueprint, token.blueprint)
