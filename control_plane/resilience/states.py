"""What state circuit breakers are in: never stored, but asked of the nodes when it is shown."""

from collections.abc import Sequence

from control_plane import monitoring
from control_plane.core.settings import Settings
from control_plane.resilience.models import CircuitBreaker


def with_state(settings: Settings, breaker: CircuitBreaker) -> CircuitBreaker:
    """Return *breaker*, which says what state it is in."""
    return with_states(settings, [breaker])[0]


def with_states(settings: Settings, breakers: Sequence[CircuitBreaker]) -> Sequence[CircuitBreaker]:
    """Return *breakers*, which say what state they are in."""
    modes = {breaker.id: breaker.mode for breaker in breakers}
    states = monitoring.breaker_states(settings, modes)
    for breaker in breakers:
        breaker.state = states[breaker.id]
    return breakers
