"""HTTP of the room tenants."""

from control_plane.tenants.routes import configuration, export, life, tenants

BLUEPRINTS = (tenants.blueprint, life.blueprint, configuration.blueprint, export.blueprint)
