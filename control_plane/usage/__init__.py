"""Usage: what every call used and cost, from the gateways' journals to the API."""

from control_plane.usage.consumer import run_consumer

__all__ = ["run_consumer"]
