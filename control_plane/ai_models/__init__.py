"""AI models (大模型) that the platform offers, and how each tenant may call them."""

from control_plane.ai_models.events import TenantModelChanged
from control_plane.ai_models.service import daily_limits

__all__ = ["TenantModelChanged", "daily_limits"]
