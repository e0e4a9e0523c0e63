"""HTTP of the room single_sign_on."""

from control_plane.single_sign_on.routes import providers, sign_in

BLUEPRINTS = (providers.blueprint, sign_in.blueprint)
