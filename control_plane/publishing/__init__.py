"""Publishes what the rooms hold as the configuration that the gateways obey."""

from control_plane.publishing.publisher import Publisher, run_publisher

__all__ = ["Publisher", "run_publisher"]
