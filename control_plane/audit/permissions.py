"""Rights of the room audit."""

from control_plane.core.auth import Permission, Role

READ = Permission("audit-log:read", "See who changed what, and from where.", role=Role.ADMIN)

ALL = (READ,)
