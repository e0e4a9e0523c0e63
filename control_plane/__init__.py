"""Yumen's control plane: tenants, identity, domains, AI models, usage and publishing."""

__version__ = "0.1.0"
