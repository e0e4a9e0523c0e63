"""Rights of the room domains."""

from control_plane.core.auth import Permission

READ = Permission("domains:read", "See a tenant's domains.")
WRITE = Permission("domains:write", "Add, verify and remove a tenant's domains.")
APPROVE = Permission(
    "domains:approve", "Verify a domain by hand, without proof in the DNS.", platform=True
)

ALL = (READ, WRITE, APPROVE)
