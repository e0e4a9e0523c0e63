"""Rights of the room issuers."""

from control_plane.core.auth import Permission, Role

READ = Permission("issuers:read", "See whose tokens are taken at a tenant's domains.")
WRITE = Permission(
    "issuers:write", "Decide whose tokens are taken at a tenant's domains.", role=Role.ADMIN
)

ALL = (READ, WRITE)
