"""Rights of the room service_clients."""

from control_plane.core.auth import Permission, Role

READ = Permission("service-clients:read", "See service clients, without their secrets.")
WRITE = Permission(
    "service-clients:write", "Make, change, rotate and delete service clients.", role=Role.ADMIN
)

ALL = (READ, WRITE)
