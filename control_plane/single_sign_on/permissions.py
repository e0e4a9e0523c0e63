"""Rights of the room single_sign_on."""

from control_plane.core.auth import Permission, Role

READ = Permission("identity-providers:read", "See identity providers, without their secrets.")
WRITE = Permission(
    "identity-providers:write",
    "Add, change and delete identity providers, and so decide who signs in as whom.",
    role=Role.ADMIN,
)

ALL = (READ, WRITE)
