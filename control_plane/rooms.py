"""The rooms of the control plane in load order: its table of contents."""

ROOMS = (
    "control_plane.tenants",
    "control_plane.identity",
    "control_plane.domains",
    "control_plane.issuers",
    "control_plane.routing",
    "control_plane.ai_models",
    "control_plane.usage",
    "control_plane.audit",
    "control_plane.service_clients",
    "control_plane.single_sign_on",
    "control_plane.monitoring",
    "control_plane.limits",
    "control_plane.resilience",
    "control_plane.publishing",
)
