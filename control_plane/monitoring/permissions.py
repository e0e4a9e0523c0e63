"""Rights of the room monitoring."""

from control_plane.core.auth import Permission

READ = Permission("monitor:read", "See how services do.")

ALL = (READ,)
