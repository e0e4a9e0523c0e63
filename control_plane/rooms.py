"""The rooms of the control plane in load order: its table of contents."""

ROOMS = (
    "control_plane.tenants",
    "control_plane.identity",
)
