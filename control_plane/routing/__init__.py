"""Routes (路由) and upstreams (上游): which requests reach a tenant's own services, and where."""

from control_plane.routing.service.upstreams import targets_changed

__all__ = ["targets_changed"]
