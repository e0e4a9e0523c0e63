"""Rights of the room publishing."""

from control_plane.core.auth import Permission

READ = Permission(
    "gateway:read", "See the gateway nodes and what was published to them.", platform=True
)

ALL = (READ,)
