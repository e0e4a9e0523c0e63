"""Rights of the room identity, and which rights a role gives."""

import uuid

from control_plane.core import plugins
from control_plane.core.auth import Permission, Role

USERS_READ = Permission("users:read", "See users.")
USERS_WRITE = Permission("users:write", "Create, change, lock and delete users.", role=Role.ADMIN)
KEYS_READ = Permission("api-keys:read", "See a tenant's API keys, without the keys themselves.")
KEYS_WRITE = Permission("api-keys:write", "Make and revoke a tenant's API keys.")
SELF = Permission("self:write", "Change the own password and sign out.", role=Role.VIEWER)

ALL = (USERS_READ, USERS_WRITE, KEYS_READ, KEYS_WRITE, SELF)


def of_role(role: Role, tenant_id: uuid.UUID | None) -> frozenset[str]:
    """Return the names of the permissions that *role* gives a user of *tenant_id*."""
    ranks = list(Role)
    return frozenset(
        permission.name
        for permission in plugins.permissions()
        if ranks.index(permission.least_role) <= ranks.index(role)
        and (tenant_id is None or not permission.platform)
    )
