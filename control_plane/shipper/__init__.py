"""The agent on a gateway node: ships the usage journal and keeps the last good configuration.

It knows Redis and the node's own files; it never sees the database.
"""

from control_plane.shipper.last_good_file import Base, Entry, LastGoodFile
from control_plane.shipper.process import ShipperRunningError, run

__all__ = ["Base", "Entry", "LastGoodFile", "ShipperRunningError", "run"]
