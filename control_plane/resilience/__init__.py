"""Resilience (韧性): when ailing services are let rest, and what is done meanwhile."""

from control_plane.resilience.evaluation import run_evaluator

__all__ = ["run_evaluator"]
