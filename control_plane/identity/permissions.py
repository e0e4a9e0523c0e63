"""Rights of the room identity, and which rights a role gives."""

import uuid
from collections.abc import Collection

from control_plane.core import plugins
from control_plane.core.auth import Permission, Role

USERS_READ = Permission("users:read", "See users.")
USERS_WRITE = Permission(
    "users:write", "Create, invite, change, lock and delete users.", role=Role.ADMIN
)
ROLES_READ = Permission("roles:read", "See roles, and which permissions there are.")
ROLES_WRITE = Permission("roles:write", "Make, change and delete roles.", role=Role.ADMIN)
KEYS_READ = Permission("api-keys:read", "See a tenant's API keys, without the keys themselves.")
KEYS_WRITE = Permission("api-keys:write", "Make, change, rotate and revoke a tenant's API keys.")
SELF = Permission(
    "self:write", "See oneself, change the own password, end own sign-ins.", role=Role.VIEWER
)

ALL = (USERS_READ, USERS_WRITE, ROLES_READ, ROLES_WRITE, KEYS_READ, KEYS_WRITE, SELF)


def of_scope(tenant_id: uuid.UUID | None) -> list[Permission]:
    """Return the permissions that users of *tenant_id*, None for the platform, can have."""
    return [each for each in plugins.permissions() if tenant_id is None or not each.platform]


def of_role(role: Role, tenant_id: uuid.UUID | None) -> list[Permission]:
    """Return what a built-in role gives a user of *tenant_id*."""
    ranks = list(Role)
    return [
        permission
        for permission in of_scope(tenant_id)
        if ranks.index(permission.least_role) <= ranks.index(role)
    ]


def of_names(names: Collection[str], tenant_id: uuid.UUID | None) -> list[Permission]:
    """Return what a custom role with *names* gives a user of *tenant_id*.

    A name that no room declares any more gives nothing. Everybody may sign out.
    """
    return [each for each in of_scope(tenant_id) if each.name in names or each == SELF]
