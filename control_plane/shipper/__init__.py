"""The agent on a gateway node: ships the usage journal and keeps the last good configuration.

It knows Redis and the node's own files; it never sees the database.
"""

from control_plane.shipper.process import ShipperRunningError, run

__all__ = ["ShipperRunningError", "run"]
