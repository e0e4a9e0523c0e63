"""What is known of the nginx on this machine, and its own judgement of a configuration."""

import os
import re
import shutil
import subprocess
from pathlib import Path

_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
_TEST_SECONDS = 30


class RenderError(Exception):
    """The gateway cannot be configured like this; the message is one sentence and a detail."""


def nginx_binary() -> str:
    """Return the path of OpenResty's nginx where there is one, else of the distribution's.

    Raises:
        RenderError: neither is installed.
    """
    found = shutil.which("openresty") or shutil.which("nginx", path=_search_path())
    if found is None:
        raise RenderError("nginx is not installed; `make setup` installs it.")
    return found


def _search_path() -> str:
    # Debian keeps nginx in /usr/sbin, which is not on everybody's PATH.
    return os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))


def lua_modules(binary: str) -> list[str]:
    """Return the dynamic modules to load for Lua; none where Lua is built in, as in OpenResty.

    Raises:
        RenderError: this nginx has no Lua.
    """
    built = subprocess.run([binary, "-V"], capture_output=True, text=True, check=True).stderr
    folder = re.search(r"--modules-path=(\S+)", built)
    files = [Path(folder.group(1)) / name for name in _MODULES] if folder else []
    if files and all(file.is_file() for file in files):
        return [str(file) for file in files]
    if re.search(r"ngx_lua|lua-nginx-module", built):
        return []
    raise RenderError(f"{binary} has no Lua; `make setup` installs libnginx-mod-http-lua.")


def judge(binary: str, prefix: Path) -> None:
    """Let nginx test the nginx.conf in *prefix*.

    Raises:
        RenderError: nginx refuses it.
    """
    command = [binary, "-t", "-q", "-p", str(prefix), "-c", "nginx.conf", "-e", "logs/error.log"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_TEST_SECONDS, check=False
    )
    if done.returncode:
        raise RenderError(f"nginx refuses its configuration: {done.stderr.strip()}")
