"""Limits (限额): how much may pass the gateway, by whom, in what time."""

from control_plane.limits.allowance import Left, Wanted, look

__all__ = ["Left", "Wanted", "look"]
