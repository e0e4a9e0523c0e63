"""Resilience (韧性): when ailing services are let rest."""
