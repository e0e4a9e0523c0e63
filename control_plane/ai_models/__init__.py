"""AI models (大模型) that the platform offers, and how each tenant may call them."""
