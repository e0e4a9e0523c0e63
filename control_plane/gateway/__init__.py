"""The gateway node of this machine: its nginx.conf and node.json, rendered from the settings."""

from control_plane.gateway.nginx import RenderError, lua_modules, nginx_binary
from control_plane.gateway.rendering import render

__all__ = ["RenderError", "lua_modules", "nginx_binary", "render"]
