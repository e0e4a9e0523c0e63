"""HTTP of the room resilience."""

from control_plane.resilience.routes import breakers, degradations

BLUEPRINTS = (breakers.blueprint, degradations.blueprint)
