"""A LuaJIT of the test's own that runs the gateway's pure modules."""

from typing import Any

from lupa.luajit21 import LuaRuntime

from control_plane.core.root import project_root


def lua_module(name: str) -> tuple[Any, Any]:
    """Load a gateway module in a fresh runtime; texts are bytes. Returns (runtime, module)."""
    runtime = LuaRuntime(encoding=None)
    runtime.globals()[b"package"][b"path"] = f"{project_root()}/openresty/lua/?.lua".encode()
    return runtime, runtime.eval(f'require "{name}"'.encode())
