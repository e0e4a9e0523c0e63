"""Rights of the room limits."""

from control_plane.core.auth import Permission

READ = Permission("limits:read", "See limits; a tenant's user sees those of his tenant.")
WRITE = Permission(
    "limits:write",
    "Decide how much may pass the gateway; a tenant cannot raise its own limits.",
    platform=True,
)

ALL = (READ, WRITE)
