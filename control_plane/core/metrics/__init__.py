"""What the control plane and its worker tell Prometheus, each on a port of its own."""

from control_plane.core.metrics.http import HttpMetrics
from control_plane.core.metrics.listening import OwnListener, serve
from control_plane.core.metrics.work import count_loop_failure, job_ended, tell_of_worker

__all__ = [
    "HttpMetrics",
    "OwnListener",
    "count_loop_failure",
    "job_ended",
    "serve",
    "tell_of_worker",
]
