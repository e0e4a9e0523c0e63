"""Rights of the room routing."""

from control_plane.core.auth import Permission

READ_ROUTES = Permission("routes:read", "See which requests of a tenant go where.")
WRITE_ROUTES = Permission("routes:write", "Decide which requests of a tenant go where.")
READ_UPSTREAMS = Permission("upstreams:read", "See upstreams and their targets.")
WRITE_UPSTREAMS = Permission("upstreams:write", "Add, change and delete upstreams.")

ALL = (READ_ROUTES, WRITE_ROUTES, READ_UPSTREAMS, WRITE_UPSTREAMS)
