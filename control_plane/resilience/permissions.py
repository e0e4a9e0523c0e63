"""Rights of the room resilience."""

from control_plane.core.auth import Permission, Role

READ = Permission("resilience:read", "See circuit breakers and degradation rules.")
WRITE = Permission(
    "resilience:write",
    "Decide when a service is no longer called, or called otherwise.",
    role=Role.ADMIN,
)

ALL = (READ, WRITE)
