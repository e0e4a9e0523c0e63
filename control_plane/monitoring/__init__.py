"""How the installation's services and parts do, by what gateway nodes tell."""

from control_plane.monitoring.breaking import CLOSED, HALF_OPEN, OPEN
from control_plane.monitoring.readings import Reading, Readings

__all__ = ["CLOSED", "HALF_OPEN", "OPEN", "Reading", "Readings"]
