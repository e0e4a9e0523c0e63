"""Usage: what every call used and cost, from the gateways' journals to the API."""

from control_plane.usage.consumer import run_consumer
from control_plane.usage.periods import Period
from control_plane.usage.service import Chosen, Used, count_used

__all__ = ["Chosen", "Period", "Used", "count_used", "run_consumer"]
