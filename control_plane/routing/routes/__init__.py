"""HTTP of the room routing."""

from control_plane.routing.routes import routes, upstreams

BLUEPRINTS = (routes.blueprint, upstreams.blueprint)
