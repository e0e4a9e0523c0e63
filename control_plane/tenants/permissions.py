"""Rights of the room tenants."""

from control_plane.core.auth import Permission, Role

READ = Permission("tenants:read", "See tenants; a tenant's user sees his own.")
WRITE = Permission(
    "tenants:write",
    "Create, change, configure, activate, suspend and delete tenants.",
    platform=True,
)
THEME = Permission("tenants:theme", "Change `uiTheme` in a tenant's configuration.")
EXPORT = Permission("tenants:export", "Export all that is kept of a tenant.", role=Role.ADMIN)
PURGE = Permission(
    "tenants:purge",
    "Purge a deleted tenant before its purge date.",
    role=Role.ADMIN,
    platform=True,
)

ALL = (READ, WRITE, THEME, EXPORT, PURGE)
