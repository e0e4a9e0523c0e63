"""How the installation's services and parts do, by what gateway nodes tell."""

from control_plane.monitoring.breaking import CLOSED, HALF_OPEN, OPEN, BreakerState
from control_plane.monitoring.readings import Reading, Readings
from control_plane.monitoring.service import breaker_states
from control_plane.monitoring.summary import run_summing_up

__all__ = [
    "CLOSED",
    "HALF_OPEN",
    "OPEN",
    "BreakerState",
    "Reading",
    "Readings",
    "breaker_states",
    "run_summing_up",
]
