"""Rights of the room ai_models."""

from control_plane.core.auth import Permission

READ = Permission("models:read", "See AI models: all of them, or those configured for the tenant.")
WRITE = Permission("models:write", "Add, change and delete AI models.", platform=True)
CONFIGURE = Permission(
    "models:configure", "Decide which models a tenant may call, and how.", platform=True
)

ALL = (READ, WRITE, CONFIGURE)
