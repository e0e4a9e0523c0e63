"""Rights of the room usage."""

from control_plane.core.auth import Permission

READ = Permission("usage:read", "See what a tenant's calls used and cost.")

ALL = (READ,)
"""What the room usage adds to Yumen."""
