"""Rights of the room tenants."""

from control_plane.core.auth import Permission

READ = Permission("tenants:read", "See tenants; a tenant's user sees his own.")
WRITE = Permission(
    "tenants:write", "Create, change, activate, suspend and delete tenants.", platform=True
)

ALL = (READ, WRITE)
