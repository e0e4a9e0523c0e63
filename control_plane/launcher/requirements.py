"""What Yumen needs of the machine, and which Debian package brings it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_plane.gateway import RenderError, lua_modules, nginx_binary

_LUA_FOLDERS: Final = ("/usr/share/lua/5.1", "/usr/local/openresty/lualib")


@dataclass(frozen=True)
class Requirement:
    """One thing that must be there."""

    name: str
    package: str
    present: Callable[[], bool]


def find_redis() -> str | None:
    """Return the path of redis-server; None when it is not installed."""
    return shutil.which("redis-server", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")


def _has_nginx() -> bool:
    try:
        nginx_binary()
    except RenderError:
        return False
    return True


def _has_lua_module() -> bool:
    try:
        lua_modules(nginx_binary())
    except RenderError:
        return False
    return True


def _has_lua(*paths: str) -> Callable[[], bool]:
    return lambda: any(Path(folder, path).exists() for folder in _LUA_FOLDERS for path in paths)


REDIS: Final = Requirement("redis-server", "redis-server", lambda: find_redis() is not None)
GATEWAY: Final = (
    Requirement("nginx", "nginx", _has_nginx),
    Requirement("nginx's Lua module", "libnginx-mod-http-lua", _has_lua_module),
    Requirement("lua-resty-core", "lua-resty-core", _has_lua("resty/core.lua")),
    Requirement("lua-resty-lrucache", "lua-resty-lrucache", _has_lua("resty/lrucache.lua")),
    Requirement("lua-cjson", "lua-cjson", _has_lua("cjson/util.lua", "cjson.so")),
    Requirement(
        "lua-nginx-redis", "lua-nginx-redis", _has_lua("nginx/redis.lua", "resty/redis.lua")
    ),
    Requirement(
        "lua-nginx-dns",
        "lua-nginx-dns",
        _has_lua("nginx/dns/resolver.lua", "resty/dns/resolver.lua"),
    ),
)


def missing(*, private_redis: bool) -> list[Requirement]:
    """Return what is not there."""
    needed = [*GATEWAY, REDIS] if private_redis else list(GATEWAY)
    return [requirement for requirement in needed if not requirement.present()]
